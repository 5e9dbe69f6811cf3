import type { Point } from './api.ts';

const earthRadiusMeters = 6_371_008.8;
const radians = Math.PI / 180;

/** Distance over the surface of the earth, by the haversine formula. */
export function distanceMeters(a: Point, b: Point): number {
  const sinLatitude = Math.sin(((b.latitude - a.latitude) * radians) / 2);
  const sinLongitude = Math.sin(((b.longitude - a.longitude) * radians) / 2);
  const h = sinLatitude ** 2 + Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * sinLongitude ** 2;
  return 2 * earthRadiusMeters * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** No point that differs by this much in latitude is nearer. */
export function latitudeDistanceMeters(degrees: number): number {
  return Math.abs(degrees) * radians * earthRadiusMeters;
}

/** No point on the meridian that is this many degrees away is nearer. */
export function meridianDistanceMeters(latitude: number, degrees: number): number {
  const reach = degrees >= 90 ? 1 : Math.sin(degrees * radians);
  return earthRadiusMeters * Math.asin(Math.cos(latitude * radians) * reach);
}
