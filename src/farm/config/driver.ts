/**
 * A driver in the configuration: where its source is, and how it is built where that is not the usual way.
 */
import { z } from "zod";
import { FilePattern, PackageName, TreePath } from "../../builder/driver-words.ts";
import { LoadSettings } from "../../builder/load-settings.ts";
import { GitPlace, PackagePlace, UrlPlace } from "../../builder/origins/origin.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { Names } from "./words.ts";

const ModuleNames = z
  .array(PathSegment.refine((name) => !name.endsWith(".ko"), { error: "a module is named without .ko" }))
  .min(1);

const ShellLines = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

export const DriverConfig = z
  .strictObject({
    name: PathSegment.describe("The driver's name, also the first part of its paths."),
    source: z
      .union([z.string().min(1), GitPlace, UrlPlace, PackagePlace])
      .describe(
        "Where its source is: a directory, a .tar archive or a .deb package, relative to this file, or one of the places below. `{version}` stands for the version.",
      ),
    versions: Names.describe(
      "Versions to build. Two versions of one series would share their paths, and are refused.",
    ),
    series: PathSegment.optional().describe("Place of its artifacts; default: the version with patch 0."),
    modules: ModuleNames.optional().describe(
      "Modules that a build must give, in any order; default: whatever it gives.",
    ),
    moduleVersion: z
      .string()
      .min(1)
      .optional()
      .describe(
        "What `modinfo -F version` must say of its modules; `{version}` stands for the version. Default: nobody minds.",
      ),
    smoke: TreePath.optional().describe(
      "A POSIX sh script of the tree that runs in the load test while the modules are in, in a guest with busybox; anything but exit code 0 is a failure.",
    ),
    load: LoadSettings.optional(),
    build: z
      .enum(["kbuild", "dkms"])
      .optional()
      .describe("What kind of tree it is; default: dkms where there is a dkms.conf and no `make`."),
    directory: TreePath.optional().describe(
      "Where in the tree its Kbuild, Makefile or dkms.conf is; default: at the top.",
    ),
    prepare: ShellLines.optional().describe(
      "Shell lines that run in the sandbox before anything is built: autogen.sh, configure.",
    ),
    make: ShellLines.optional().describe("Shell lines that build, in place of the kernel's own `make M=`."),
    packages: z
      .array(PackageName)
      .min(1)
      .optional()
      .describe("Packages of the distribution that its build needs beside compiler, make and kmod."),
    needs: z
      .array(PathSegment)
      .optional()
      .describe(
        "Names of other drivers here whose modules it uses: they are built first, for the same kernel, and their symbols are known to its build. What BUILD_DEPENDS of a dkms.conf names counts too, by the names that this file has for drivers and their packages; `[]` says that nothing else is meant.",
      ),
    files: z
      .array(FilePattern)
      .min(1)
      .optional()
      .describe("Further files to publish, as patterns inside the tree: `firmware/*.bin`."),
    strip: z
      .boolean()
      .optional()
      .describe("Publish modules without debugging information too; default: as dkms.conf says, else no."),
    compress: z
      .enum(["xz", "zstd", "gz"])
      .optional()
      .describe("Publish modules compressed too, as the kernel's own modules_install does it."),
  })
  .refine(({ build, make }) => build !== "dkms" || make === undefined, {
    error: "`make` stands in place of what dkms.conf says: give one of `build: dkms` and `make`",
  });
export type DriverConfig = z.infer<typeof DriverConfig>;
