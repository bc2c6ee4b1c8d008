/**
 * Whether modules say of themselves that they are for this kernel: architecture, vermagic, build salt, and the version
 * that their driver should have. Witnesses that were compiled in, not names of files.
 */
import type { KernelModule } from "../../formats/kernel-module.ts";
import type { KernelRecord } from "../../inputs/kernel-record.ts";
import { type Reason, reason, summed, type Verdict } from "../verdict.ts";
import { type Check, modulesOf } from "./check.ts";

type Witness = Pick<KernelModule, "name" | "architecture" | "vermagic" | "buildSalt" | "version">;

const CODES = [
  "architecture",
  "release",
  "vermagic",
  "buildSalt",
  "moduleVersion",
  "unknownVermagic",
  "unproven",
  "fits",
] as const;
type Because = Reason<(typeof CODES)[number]>;

export const identity = {
  name: "identity",
  codes: CODES,
  question: "Were they built for exactly this kernel?",
  isDefault: true,
  isOfFiles: true,
  isKeyed: false,
  judge(subject) {
    const { kernel, moduleVersion } = subject;
    const modules = modulesOf(subject)?.map(({ module }) => module);
    return modules && checkIdentity(modules, kernel, { moduleVersion });
  },
} as const satisfies Check;

interface ExpectedIdentity {
  /** What `modinfo -F version` must print, if configured. */
  readonly moduleVersion?: string | undefined;
}

export function checkIdentity(
  modules: readonly Witness[],
  kernel: KernelRecord,
  { moduleVersion }: ExpectedIdentity = {},
): Verdict {
  const faults = modules.flatMap((one): Because[] => [
    ...foreign(one, kernel),
    ...(moduleVersion === undefined || one.version === moduleVersion
      ? []
      : [
          reason(
            "moduleVersion",
            `${one.name} has version ${one.version ?? "none"}, but ${moduleVersion} is wanted`,
          ),
        ]),
  ]);
  const gaps: Because[] = [
    ...(kernel.vermagic === undefined
      ? [
          reason(
            "unknownVermagic",
            "the kernel's headers have no release or no configuration, so the vermagic that it requires is unknown",
          ),
        ]
      : []),
    ...(kernel.vermagic !== undefined && isUnproven(modules, kernel)
      ? [
          reason(
            "unproven",
            "the kernel has neither CRCs nor a build salt, so a module cannot be tied to this build of it",
          ),
        ]
      : []),
  ];
  const salt = kernel.buildSalt ? `, build salt ${kernel.buildSalt}` : "";
  const good: Because[] = [reason("fits", `vermagic "${kernel.vermagic}"${salt}`)];
  return summed("identity", { faults, gaps, good });
}

/** What shows that a module is another kernel's. */
function foreign(module: Witness, { architecture, vermagic, buildSalt }: KernelRecord): Because[] {
  if (module.architecture !== architecture)
    return [
      reason(
        "architecture",
        `${module.name} is for ${module.architecture}, but the kernel is for ${architecture}`,
      ),
    ];
  const faults: Because[] = [];
  if (vermagic !== undefined && module.vermagic !== vermagic) faults.push(vermagicFault(module, vermagic));
  if (buildSalt && module.buildSalt !== buildSalt)
    faults.push(
      reason(
        "buildSalt",
        `${module.name} has the build salt ${module.buildSalt ?? "none"}, but the kernel has ${buildSalt}`,
      ),
    );
  return faults;
}

function vermagicFault({ name, vermagic: has }: Witness, wants: string): Because {
  const [release, wanted] = [has, wants].map((text) => text.split(" ")[0]);
  if (release !== wanted) return reason("release", `${name}: it was built for ${release}, not for ${wanted}`);
  return reason("vermagic", `${name}: its vermagic is "${has}", but the kernel's is "${wants}"`);
}

/** Without MODVERSIONS only the release and the salt bind a module to a kernel, and the salt may be empty. */
function isUnproven(modules: readonly Witness[], { config, buildSalt }: KernelRecord): boolean {
  return config?.get("MODVERSIONS") !== "y" && !buildSalt && modules.length > 0;
}
