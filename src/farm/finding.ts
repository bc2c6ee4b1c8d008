/** What `doctor` found out about one thing. */

export interface Finding {
  readonly subject: string;
  /** A note is a thing that would be good to have, or to know. */
  readonly state: "good" | "note" | "problem";
  readonly fact: string;
  /** What to do; there for each problem. */
  readonly next?: string;
}
