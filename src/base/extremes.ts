/** The largest and the smallest of however many: as arguments of one call, very many of them end the program. */
export function largest(values: Iterable<number>, atLeast = Number.NEGATIVE_INFINITY): number {
  let found = atLeast;
  for (const value of values) if (value > found) found = value;
  return found;
}

export function smallest(values: Iterable<number>, atMost = Number.POSITIVE_INFINITY): number {
  let found = atMost;
  for (const value of values) if (value < found) found = value;
  return found;
}
