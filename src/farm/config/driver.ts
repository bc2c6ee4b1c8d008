/**
 * A driver in the configuration: where its source is, and how it is built where that is not the usual way.
 */
import { z } from "zod";
import { FilePattern, PackageName, TreePath } from "../../builder/driver-words.ts";
import { LoadSettings } from "../../builder/load-settings.ts";
import { GitPlace, PackagePlace, UrlPlace } from "../../builder/origins/origin.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { SignaturesConfig } from "./keys.ts";
import { Names } from "./words.ts";

const ModuleNames = z
  .array(PathSegment.refine((name) => !name.endsWith(".ko"), { error: "name the module without .ko" }))
  .min(1);

const ShellLines = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

export const DriverConfig = z
  .strictObject({
    name: PathSegment.describe("The driver's name; also the first part of its artifacts' paths."),
    source: z
      .union([z.string().min(1), GitPlace, UrlPlace, PackagePlace])
      .describe(
        "Its source: a directory, a .tar archive or a .deb package, relative to this file, or one of the places below. `{version}` stands for the version.",
      ),
    ignore: z
      .array(z.string().min(1))
      .optional()
      .describe(
        "What in the directory is not source, as lines of a .gitignore file; `!README.md` makes something source that is left out by default (docs/drivers.md).",
      ),
    versions: Names.describe(
      "Versions to build. Two versions of one series are refused, because they would share their paths.",
    ),
    series: PathSegment.optional().describe(
      "Series: where its artifacts are stored. Default: the version with patch 0.",
    ),
    modules: ModuleNames.optional().describe(
      "Modules that a build must produce, in any order. Default: whatever it produces.",
    ),
    moduleVersion: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Version that `modinfo -F version` must print for its modules; `{version}` stands for the version. Default: not checked.",
      ),
    redistributable: z
      .boolean()
      .optional()
      .describe(
        "Whether its source may be passed on. If not, the archive that rebuilds need is kept under `private/` in the store, which must not be served. Default: true.",
      ),
    smoke: TreePath.optional().describe(
      "A POSIX sh script in the tree that the load test runs while the modules are loaded, in a guest with busybox; any exit code but 0 is a failure.",
    ),
    load: LoadSettings.optional(),
    build: z
      .enum(["kbuild", "dkms"])
      .optional()
      .describe("Kind of tree. Default: dkms if there is a dkms.conf and no `make`."),
    directory: TreePath.optional().describe(
      "Directory in the tree that holds its Kbuild, Makefile or dkms.conf. Default: the top.",
    ),
    prepare: ShellLines.optional().describe(
      "Shell lines to run in the sandbox before the build: autogen.sh, configure.",
    ),
    make: ShellLines.optional().describe(
      "Shell lines that build the driver, instead of the kernel's own `make M=`.",
    ),
    packages: z
      .array(PackageName)
      .min(1)
      .optional()
      .describe("Packages of the distribution that its build needs in addition to compiler, make and kmod."),
    needs: z
      .array(PathSegment)
      .optional()
      .describe(
        "Names of other drivers in this file whose modules it uses: they are built first, for the same kernel, and its build knows their symbols. BUILD_DEPENDS of a dkms.conf counts too, if it names drivers of this file or their packages; `[]` says that it means no driver.",
      ),
    files: z
      .array(FilePattern)
      .min(1)
      .optional()
      .describe("More files to publish, as patterns inside the tree: `firmware/*.bin`."),
    signatures: SignaturesConfig.optional().describe(
      "Whose signatures its modules get. Default: those of all drivers; `[]` says none.",
    ),
    strip: z
      .boolean()
      .optional()
      .describe(
        "Also publish the modules without debugging information. Default: as dkms.conf says, else no.",
      ),
    compress: z
      .enum(["xz", "zstd", "gz"])
      .optional()
      .describe("Also publish the modules compressed, as the kernel's own modules_install does it."),
  })
  .refine(({ build, make }) => build !== "dkms" || make === undefined, {
    error: "`make` replaces what dkms.conf says: give either `build: dkms` or `make`",
  });
export type DriverConfig = z.infer<typeof DriverConfig>;
