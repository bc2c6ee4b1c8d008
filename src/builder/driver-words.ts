/**
 * Words that describe a driver's build, wherever they are written: in a configuration, in an order, or in a registry. They
 * become paths, patterns, and words of commands.
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

/** How a driver is built, where that travels: in orders, and in what a registry keeps for rebuilds. */
export const BuildWords = z.strictObject({
  kind: z.enum(["kbuild", "dkms"]),
  directory: TreePath.optional(),
  prepare: z.array(z.string()).optional(),
  make: z.array(z.string()).optional(),
  packages: z.array(PackageName),
  depends: z.array(PackageName).optional(),
  files: z.array(FilePattern),
  strip: z.boolean().optional(),
  compress: z.enum(["xz", "zstd", "gz"]).optional(),
});
