/** What the doctor found out about one thing of this machine. */
export interface Finding {
  readonly subject: string;
  /** A note is a thing that would be good to have, or to know. */
  readonly state: "good" | "note" | "problem";
  readonly fact: string;
  /** What to do; there for each problem. */
  readonly next?: string;
}
