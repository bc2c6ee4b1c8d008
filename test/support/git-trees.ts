/** Repositories of git that a checkout cannot have. */
import { execFileSync } from "node:child_process";

/** Runs git there, as somebody, and answers what it says. */
export function gitIn(repository: string, input: string, ...argv: string[]): string {
  const somebody = ["-c", "user.name=A", "-c", "user.email=a@b.example"];
  return execFileSync("git", [...somebody, ...argv], { cwd: repository, input })
    .toString()
    .trim();
}

/** Makes a branch `deep`: a commit whose only file lies deeper than any path reaches. */
export function addDeepPath(repository: string): void {
  const git = (input: string, ...argv: string[]) => gitIn(repository, input, ...argv);
  const blob = git("x", "hash-object", "-w", "--stdin");
  let object = git(`100644 blob ${blob}\tfile\n`, "mktree");
  for (let depth = 0; depth < 25; depth++)
    object = git(`040000 tree ${object}\t${"d".repeat(200)}\n`, "mktree");
  git("", "branch", "deep", git("", "commit-tree", object, "-m", "deep"));
}
