// Written by `npm run api`; a test says when it is not current.

// tenon/reflection

import { type ProtoType } from '../pipeline/pipeline.ts';
import type { ServerHandler } from '../server/server.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { Reflected } from './reflected.ts';
export declare const reflectionVersions: readonly ['v1', 'v1alpha'];
export type ReflectionVersion = (typeof reflectionVersions)[number];
export declare function reflectionProto(version: ReflectionVersion): URL;
export declare function reflectionName(version: ReflectionVersion): string;
export declare const errorDetailsProto: import("url").URL;
export interface ReflectionOptions {
    readonly version: ReflectionVersion;
    readonly reflected: Reflected;
    readonly findType: (name: string) => ProtoType | undefined;
    readonly service: Pick<ServiceRuntime, 'status' | 'onChange'>;
}
export declare function reflectionHandler({ version, reflected, findType, service }: ReflectionOptions): ServerHandler;

// tenon/reflection/reflected

export interface ReflectedService {
    readonly name: string;
    readonly files: () => readonly Uint8Array[] | undefined;
}
export declare class Reflected {
    #private;
    constructor(services: readonly ReflectedService[], others?: () => readonly Uint8Array[]);
    get names(): readonly string[];
    isUndefined(symbol: string): boolean;
}
