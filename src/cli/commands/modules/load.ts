/**
 * `kmodfarm load`: loads existing modules into a kernel that the catalog knows.
 */
import { FarmError } from "../../../base/error.ts";
import { findKernel } from "../../../catalog/catalog.ts";
import { requireFirmware, type SecureBoot } from "../../../check/guest/firmware.ts";
import { guestPackages } from "../../../check/guest/tools.ts";
import { type AppliedLivePatch, type LoadReport, loadModules } from "../../../check/load.ts";
import { type OpenedModule, openModuleFile } from "../../../check/opened-modules.ts";
import { textsOf } from "../../../check/verdict.ts";
import { readCertificates } from "../../../farm/gate/policy-file.ts";
import { readingContext } from "../../../farm/open.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { readPublished } from "../../../registry/generations.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { readText } from "../../input.ts";
import { readModuleFiles } from "../../module-files.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, seconds, shownVerdict } from "../../output.ts";
import type { LOAD } from "./command.ts";

const EXITS = { pass: 0, fail: 1, unknown: 3, notApplicable: 3, waived: 0 } as const;

export async function load(files: readonly string[], options: OptionsOf<typeof LOAD>): Promise<number> {
  const secureBoot = await secureBootOf(options);
  const { livepatch = [] } = options;
  const read = await Promise.all((await readModuleFiles([...livepatch, ...files])).map(openModuleFile));
  const [livePatches, modules] = [read.slice(0, livepatch.length), read.slice(livepatch.length)];
  requireLivePatches(livePatches);
  return withStoredFarm(options, async (farm) => {
    const { catalog } = await readPublished(farm.store);
    const kernel = findKernel(catalog, options.kernel);
    const foreign = read.find(({ module }) => module.architecture !== kernel.architecture)?.module;
    if (foreign !== undefined) {
      throw new FarmError("LOAD_FAILED", {
        detail: `${foreign.name} is a module for ${foreign.architecture}, but ${kernelName(kernel)} is not`,
      });
    }
    if (secureBoot !== undefined && kernel.architecture !== "x86_64")
      throw new FarmError("USAGE", {
        detail: `--secure-boot is for kernels of x86_64, and ${kernelName(kernel)} is not`,
      });
    const set = {
      driver: modules.map(({ module: { name } }) => name).join(),
      modules: modules.map(loadModuleOf),
      smoke: options.smoke === undefined ? undefined : await readText(options.smoke),
    };
    const guest = guestPackages(catalog.guests, kernel);
    const [report] = await withTask(options, `booting ${kernelName(kernel)}`, ({ signal }) =>
      loadModules(
        { kernel, guest, sets: [set], livePatches: livePatches.map(loadModuleOf), secureBoot },
        readingContext(farm, catalog),
        signal,
      ),
    );
    const { verdict, bootMs, accelerator, log, lockdown, livePatches: applied } = report as LoadReport;
    if (options.json)
      await printJson({
        schema: "kmodfarm.load/1",
        kernel: kernelName(kernel),
        verdict: shownVerdict(verdict),
        bootMs,
        accelerator,
        log: log.split("\n"),
        ...(applied.length === 0 ? {} : { livePatches: applied.map(toLine) }),
        ...(lockdown === undefined ? {} : { lockdown }),
      });
    else
      await print(
        `${log}\n\n${applied.map((one) => `live patch ${one.patch}: ${one.state}\n`).join("")}${verdict.verdict}: ${textsOf(verdict).join("; ")} (${kernelName(kernel)}, ${lockdown === undefined ? "" : `lockdown ${lockdown.mode}, `}${seconds(bootMs)} s, ${accelerator})\n`,
      );
    return EXITS[verdict.verdict];
  });
}

function loadModuleOf({ module: { name }, bytes, packed }: OpenedModule) {
  return { name, bytes, packed };
}

/** @throws FarmError USAGE */
function requireLivePatches(modules: readonly OpenedModule[]): void {
  const other = modules.find(
    ({ module }) => !module.modinfo.some(([key, value]) => key === "livepatch" && value === "Y"),
  );
  if (other !== undefined)
    throw new FarmError("USAGE", {
      detail: `${other.file} is not a live patch: its .modinfo does not say \`livepatch=Y\``,
      hint: "Name only live patches with --livepatch, and the driver's modules as arguments.",
    });
}

/** As the feed `livepatch` reads it, once a node and CVEs are added. */
function toLine({ patch, state, attributes }: AppliedLivePatch) {
  return { patch, state, ...attributes };
}

async function secureBootOf({
  secureBoot,
  enrol,
  mok,
}: Pick<OptionsOf<typeof LOAD>, "secureBoot" | "enrol" | "mok">): Promise<SecureBoot | undefined> {
  if (secureBoot !== true) {
    if (enrol === undefined && mok === undefined) return undefined;
    throw new FarmError("USAGE", { detail: "--enrol and --mok need --secure-boot" });
  }
  const list = mok === true ? "mok" : "db";
  await requireFirmware(list);
  const signers = (await Promise.all((enrol ?? []).map(readCertificates))).flat();
  return { list, enrolled: signers.map(({ certificate }) => certificate.raw) };
}
