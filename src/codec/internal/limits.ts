import { Code, TenonError } from '../../errors/errors.ts';
import type { JsonForm, MessageLimits } from '../../pipeline/pipeline.ts';
import { ConversionError, describeValue, fail } from './codec-errors.ts';

/** The default of `maxElements`: see {@link MessageLimits}. */
export const defaultMaxElements = 2 ** 20;
/** The default of `maxDepth`, which is protobuf's own limit (protobuf.dev: programming-guides/proto-limits). */
export const defaultMaxDepth = 100;
/**
 * The deepest nesting of JSON without a `.proto`, as in Jackson, and the highest `maxDepth`. Code that walks a deeper
 * value, here or in a handler, would run out of stack, and near its end V8 may abort the process.
 */
export const deepestJson = 1_000;

/** The deepest nesting of messages of a `.proto`, whose levels take more of the stack. */
const deepestMessage = 250;

/** Bytes of an `Any` in JSON that count as one element: they are written or read again at each level of nesting. */
const bytesPerElement = 64;

/** Bounds the nesting of a value. */
export class DepthLimit {
  maxDepth = defaultMaxDepth;

  limitDepth(limits: MessageLimits | undefined): void {
    this.maxDepth = limits?.maxDepth === undefined ? defaultMaxDepth : Math.min(limits.maxDepth, deepestMessage);
  }

  checkDepth(depth: number): void {
    if (depth > this.maxDepth) this.tooDeep();
  }

  tooDeep(): never {
    fail(`nested deeper than ${this.maxDepth} levels, the maxDepth of the codec`);
  }
}

/** Counts the elements that a message may still hold while it is read. */
export class Budget extends DepthLimit {
  /** The form of what JSON's text has no type for. */
  form: JsonForm = 'text';
  maxElements = defaultMaxElements;
  left = defaultMaxElements;
  /** The limits in force. They are mostly those of the message before. */
  #limits: MessageLimits | undefined;

  /** Begins a message with its limits. */
  limit(limits: MessageLimits | undefined): this {
    if (limits !== this.#limits) {
      this.#limits = limits;
      this.limitDepth(limits);
      this.maxElements = limits?.maxElements ?? defaultMaxElements;
    }
    this.left = this.maxElements;
    return this;
  }

  take(elements: number): void {
    this.left -= elements;
    if (this.left < 0) this.tooMany();
  }

  takeBytes(bytes: number): void {
    this.take(1 + Math.floor(bytes / bytesPerElement));
  }

  tooMany(): never {
    throw tooManyElements(this.maxElements);
  }
}

/** Throws the error of a value without a `.proto` that is nested too deep. */
export function nestedTooDeep(maxDepth: number): never {
  fail(`expected at most ${maxDepth} levels of nesting, the maxDepth of the codec, got more: send a list of its parts`);
}

/** The error that becomes RESOURCE_EXHAUSTED (`codec.too_many_elements`). */
export function tooManyElements(maxElements: number): ConversionError {
  return new ConversionError(
    `the message holds more than ${maxElements} elements, the maxElements of the codec`,
    '',
    true,
  );
}

/** Throws INVALID_ARGUMENT (`codec.invalid_option`) for limits that are not whole numbers in their range. */
export function assertLimits({ maxElements, maxDepth }: MessageLimits): void {
  if (maxElements !== undefined && !(Number.isSafeInteger(maxElements) && maxElements >= 1))
    throw invalid(`maxElements: expected a whole number of at least 1, got ${describeValue(maxElements)}`);
  if (maxDepth !== undefined && !(Number.isSafeInteger(maxDepth) && maxDepth >= 1 && maxDepth <= deepestJson))
    throw invalid(`maxDepth: expected a whole number from 1 to ${deepestJson}, got ${describeValue(maxDepth)}`);
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'codec.invalid_option', message });
}
