/**
 * A token bucket as one number (the generic cell rate algorithm): `fullAtUs` is the instant at which the bucket will be
 * full again. The bucket holds one minute's worth, so a key that was quiet may send its whole minute at once and then
 * one request per 60 s / `perMinuteMax`. Pure, and free of objects: it runs for every request.
 */
const minuteUs = 60_000_000

/** `fullAtUs` after taking one request at `nowUs`, or -1 when the bucket is empty. A fresh bucket has `fullAtUs` 0. */
export function takeRequest(fullAtUs: number, nowUs: number, perMinuteMax: number): number {
  if (perMinuteMax <= 0) return -1
  if (perMinuteMax === Number.POSITIVE_INFINITY) return 0
  const next = Math.max(fullAtUs, nowUs) + minuteUs / perMinuteMax
  return next - nowUs <= minuteUs ? next : -1
}

/** Microseconds from `nowUs` until the bucket holds a request again; 0 when it already does. A minute when it never will. */
export function retryAfterUs(fullAtUs: number, nowUs: number, perMinuteMax: number): number {
  if (perMinuteMax <= 0) return minuteUs
  return Math.max(0, Math.ceil(Math.max(fullAtUs, nowUs) + minuteUs / perMinuteMax - minuteUs - nowUs))
}
