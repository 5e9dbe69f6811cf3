/** Gives `Greeter` of `any.package.Greeter`: Go Micro tells services apart by what is behind the last dot. */
export function typeName(service: string): string {
  return service.slice(service.lastIndexOf('.') + 1);
}

/** Gives `Greeter.Hello`, the name of a method in the registry. */
export function endpointName(service: string, method: string): string {
  return `${typeName(service)}.${method}`;
}

/** Gives `/Greeter/Hello` of `/any.package.Greeter/Hello`: all that Go Micro's server looks at. */
export function shortPath(path: string): string {
  const slash = path.indexOf('/', 1);
  return `/${path.slice(path.lastIndexOf('.', slash < 0 ? undefined : slash) + 1).replace(/^\//, '')}`;
}

/**
 * Gives `/<registry name>.<Type>/<Method>`, where Go Micro's client calls: the package of the `.proto` plays no part.
 * Without a name it is `/<Type>/<Method>`.
 */
export function callPath(registryName: string, path: string): string {
  const short = shortPath(path);
  return registryName === '' ? short : `/${registryName}.${short.slice(1)}`;
}
