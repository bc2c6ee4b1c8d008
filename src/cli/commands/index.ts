/**
 * Every command, in the order of `--help`. Their code loads when they are called.
 */
import { type CommandDefinition, command, group } from "../command.ts";
import { CACHE, PRUNE_CACHE } from "./cache/command.ts";
import { EXPORT, FIND, IMPORT, LIST, UPDATE } from "./catalog/command.ts";
import { DOCTOR } from "./doctor/command.ts";
import { INIT_DRIVER, TRY } from "./driver/command.ts";
import { FORECAST } from "./forecast/command.ts";
import { EXPLAIN, EXPORT as EXPORT_GAP, INGEST, NOTICES, REPORT } from "./gap/command.ts";
import { FLOOR, IMPORT_MODULES, PROMOTE, REUSE, ROLLBACK, WITHDRAW } from "./gate/command.ts";
import { INIT, TRY_WORKFLOW } from "./github/command.ts";
import { CREATE_KEY, SHOW_KEYS } from "./keys/command.ts";
import { DIFF, GENERATE, SHARD, SHOW } from "./matrix/command.ts";
import { ATTACH, AUDIT, CHECK, DETACH, LOAD, PROVE, ROOT, VERIFY_MODULES } from "./modules/command.ts";
import { BUILD, REBUILD, RUN, WATCH } from "./night/command.ts";
import { FETCH } from "./node/command.ts";
import { CONTROLS } from "./report/command.ts";
import { ADD_STATEMENT } from "./statement/command.ts";
import { ACCEPT, COPY, FSCK, GENERATIONS, PRUNE } from "./store/command.ts";
import { EXPORT_TOOLCHAIN, IMPORT_TOOLCHAIN } from "./toolchain/command.ts";
import {
  ADD_COSIGNATURES,
  CHECK_LOGGED,
  NEW_ROOT,
  PROVE_LOGGED,
  PUBLISH_ROOT,
  SIGN_ROOT,
  VERIFY,
  WITNESS,
} from "./trust/command.ts";
import { PLAN, TAKE, WORK } from "./workers/command.ts";

export const COMMANDS: readonly CommandDefinition[] = [
  command(INIT_DRIVER, async () => (await import("./driver/init.ts")).initDriver),
  command(TRY, async () => (await import("./driver/try.ts")).tryDriver),
  command(RUN, async () => (await import("./night/run.ts")).run),
  command(WATCH, async () => (await import("./night/watch.ts")).watch),
  group("catalog", "the kernels that exist", [
    command(UPDATE, async () => (await import("./catalog/update.ts")).update),
    command(LIST, async () => (await import("./catalog/list.ts")).list),
    command(IMPORT, async () => (await import("./catalog/import.ts")).importFile),
    command(EXPORT, async () => (await import("./catalog/export.ts")).exportCatalog),
    command(FIND, async () => (await import("./catalog/find.ts")).find),
  ]),
  group("matrix", "the builds that are wanted", [
    command(GENERATE, async () => (await import("./matrix/generate.ts")).generate),
    command(DIFF, async () => (await import("./matrix/diff.ts")).diff),
    command(SHOW, async () => (await import("./matrix/show.ts")).show),
    command(SHARD, async () => (await import("./matrix/shard.ts")).shard),
  ]),
  command(BUILD, async () => (await import("./night/build.ts")).build),
  command(PLAN, async () => (await import("./workers/plan.ts")).plan),
  command(WORK, async () => (await import("./workers/work.ts")).work),
  command(TAKE, async () => (await import("./workers/take.ts")).take),
  group("gap", "how long fixes take, and which kernels have them", [
    command(INGEST, async () => (await import("./gap/ingest.ts")).ingestFeeds),
    command(REPORT, async () => (await import("./gap/report.ts")).report),
    command(EXPLAIN, async () => (await import("./gap/explain.ts")).explain),
    command(NOTICES, async () => (await import("./gap/notices.ts")).notices),
    command(EXPORT_GAP, async () => (await import("./gap/export.ts")).exportVerdicts),
  ]),
  command(FORECAST, async () => (await import("./forecast/forecast.ts")).forecastKernels),
  group("github", "the farm on GitHub Actions", [
    command(INIT, async () => (await import("./github/init.ts")).init),
    command(TRY_WORKFLOW, async () => (await import("./github/try.ts")).tryWorkflow),
  ]),
  group("toolchain", "toolchain roots, to copy between machines", [
    command(EXPORT_TOOLCHAIN, async () => (await import("./toolchain/toolchain.ts")).exportToolchain),
    command(IMPORT_TOOLCHAIN, async () => (await import("./toolchain/toolchain.ts")).importToolchain),
  ]),
  command(REBUILD, async () => (await import("./night/rebuild.ts")).rebuild),
  group("statement", "results signed by others who rebuilt artifacts", [
    command(ADD_STATEMENT, async () => (await import("./statement/add.ts")).add),
  ]),
  command(GENERATIONS, async () => (await import("./store/generations.ts")).generations, [
    command(ACCEPT, async () => (await import("./store/accept.ts")).accept),
  ]),
  command(PRUNE, async () => (await import("./store/prune.ts")).pruneStore),
  command(FSCK, async () => (await import("./store/fsck.ts")).checkStore),
  command(VERIFY, async () => (await import("./trust/verify.ts")).verify),
  command(WITNESS, async () => (await import("./trust/witness.ts")).witness),
  group("log", "what a registry's log says of artifacts", [
    command(PROVE_LOGGED, async () => (await import("./trust/log.ts")).proveInLog),
    command(CHECK_LOGGED, async () => (await import("./trust/log.ts")).checkLogged),
    command(ADD_COSIGNATURES, async () => (await import("./trust/witness.ts")).addCosignatures),
  ]),
  group("report", "evidence that a registry holds", [
    command(CONTROLS, async () => (await import("./report/controls.ts")).controls),
  ]),
  group("store", "copy whole registries", [
    command(COPY, async () => (await import("./store/copy.ts")).copy),
  ]),
  command(CACHE, async () => (await import("./cache/list.ts")).list, [
    command(PRUNE_CACHE, async () => (await import("./cache/prune.ts")).prune),
  ]),
  command(DOCTOR, async () => (await import("./doctor/doctor.ts")).doctor),
  command(LOAD, async () => (await import("./modules/load.ts")).load),
  command(CHECK, async () => (await import("./modules/check.ts")).check),
  command(AUDIT, async () => (await import("./modules/audit.ts")).audit),
  group("modules", "modules, their signatures, and the sets that they belong to", [
    command(ROOT, async () => (await import("./modules/root.ts")).root),
    command(PROVE, async () => (await import("./modules/prove.ts")).prove),
    command(VERIFY_MODULES, async () => (await import("./modules/verify.ts")).verify),
    command(ATTACH, async () => (await import("./modules/signature.ts")).attach),
    command(DETACH, async () => (await import("./modules/signature.ts")).detach),
  ]),
  group("root", "which keys nodes trust", [
    command(NEW_ROOT, async () => (await import("./trust/root.ts")).newDocument),
    command(SIGN_ROOT, async () => (await import("./trust/root.ts")).sign),
    command(PUBLISH_ROOT, async () => (await import("./trust/root.ts")).publish),
  ]),
  group("keys", "private keys of the farm", [
    command(CREATE_KEY, async () => (await import("./keys/create.ts")).create),
    command(SHOW_KEYS, async () => (await import("./keys/show.ts")).show),
  ]),
  command(PROMOTE, async () => (await import("./gate/gate.ts")).promote),
  command(IMPORT_MODULES, async () => (await import("./gate/gate.ts")).importModules),
  command(WITHDRAW, async () => (await import("./gate/gate.ts")).withdraw),
  command(REUSE, async () => (await import("./gate/gate.ts")).reuse),
  command(FLOOR, async () => (await import("./gate/gate.ts")).floor),
  command(ROLLBACK, async () => (await import("./gate/gate.ts")).rollback),
  command(FETCH, async () => (await import("./node/fetch.ts")).fetch),
];
