/**
 * Words that describe a driver's build, wherever they are written: in a configuration, or in an order. They become paths,
 * patterns, and words of commands.
 */
import { z } from "zod";

/** What apt and dnf take as a name and as nothing else: no pattern, no path, and no `-` that removes. */
export const PackageName = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9+._-]*[A-Za-z0-9+])?$/, {
  error: "not the name of a package",
});

/** A path that cannot lead out of the tree. */
const isInside = (path: string) =>
  !path.startsWith("/") && path.split("/").every((part) => part !== "" && part !== ".." && part !== ".");

/** A path below a driver's tree. */
export const TreePath = z
  .string()
  .regex(/^[A-Za-z0-9._+~/-]+$/, { error: "not a plain path" })
  .refine(isInside, { error: "must be a path inside the tree, without a leading ./" });

/** Which files below a driver's tree are kept. */
export const FilePattern = z
  .string()
  .regex(/^[A-Za-z0-9._+~*?[\]/-]+$/, { error: "not a plain pattern (only * ? [ ] are special)" })
  .refine((pattern) => isInside(pattern) && !pattern.startsWith("-"), {
    error: "must be a pattern inside the tree",
  });
