/**
 * Commands, their options, and how their errors are told. Each command's own code loads when it is called.
 */
import { Command, CommanderError, Option } from "commander";
import { FarmError, toFarmError, traceOf } from "../base/error.ts";
import { visible, visibleJson } from "../base/visible.ts";
import { SANDBOX_NAMES } from "../builder/sandboxes/sandbox.ts";
import { toNumber } from "./whole-number.ts";

/** Runs one command line; returns the exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const outcome = { exit: 0 };
  const asJson = argv.includes("--json");
  const gone = removedDirectory();
  if (gone !== undefined) {
    process.stderr.write(describeError(gone, asJson));
    return gone.exit;
  }
  // `kmodfarm … | head`: who reads no further has what they wanted.
  process.stdout.on("error", (fault: NodeJS.ErrnoException) => {
    if (fault.code === "EPIPE") process.exit(0);
    const error = toFarmError(fault);
    process.stderr.write(describeError(error, asJson));
    process.exit(error.exit);
  });
  const program = defineProgram((exit) => {
    outcome.exit = exit;
  }, asJson);
  try {
    await program.parseAsync(argv as string[], { from: "user" });
    return outcome.exit;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    // Called without a command it has shown its help, which says more than an error.
    if (thrown instanceof CommanderError && thrown.code === "commander.help" && !asJson) return 2;
    const error =
      thrown instanceof CommanderError
        ? new FarmError("USAGE", { detail: thrown.message.replace(/^error: /, "") })
        : toFarmError(thrown);
    process.stderr.write(describeError(error, asJson));
    return error.exit;
  }
}

/** Whether the directory that this was started in is not there any more: nothing relative can be found from it. */
function removedDirectory(): FarmError | undefined {
  try {
    process.cwd();
    return undefined;
  } catch (cause) {
    return new FarmError("FILE_UNREADABLE", {
      detail: "the directory that this was started in has been removed",
      hint: "Change to one that is there.",
      cause,
    });
  }
}

/** Three lines for a person, one document for a program. */
function describeError(error: FarmError, asJson: boolean): string {
  const { code, message, blame, at, hint } = error;
  if (asJson) return `${visibleJson(JSON.stringify({ error: { code, message, blame, at, hint } }))}\n`;
  const places = Object.entries(at).map(([name, value]) => `  ${name}: ${value}\n`);
  const trace = traceOf(error);
  return visible(
    `${trace === "" ? "" : `${trace}\n`}kmodfarm: ${message}\n${places.join("")}  ${hint} [${code}]\n`,
  );
}

type SetExit = (exit: number) => void;

function defineProgram(setExit: SetExit, asJson: boolean): Command {
  const program = new Command("kmodfarm")
    .description(
      "Builds, proves and publishes one out-of-tree Linux driver for every kernel its fleet may boot.",
    )
    .option("-V, --version", "print the version")
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    // Errors are told in one place, as all others are.
    .configureOutput({ outputError() {}, ...(asJson ? { writeErr() {} } : {}) })
    .exitOverride();

  withPlaces(program.command("run"))
    .description(
      "the night, end to end: catalog, matrix, build, load test, publish; goes on where it was stopped",
    )
    .addOption(sandboxOption())
    .option("--retry", "also try again what failed by its own fault or could not be fetched")
    .action(async (options) => setExit(await (await import("./commands/run.ts")).run(options)));

  const catalog = program.command("catalog").description("which kernels exist");
  defineCatalog(catalog, setExit);
  defineExchange(catalog, setExit);
  defineFind(catalog, setExit);
  const matrix = program.command("matrix").description("which builds are wanted");
  defineMatrix(matrix, setExit);
  defineShard(matrix, setExit);

  withPlaces(program.command("build"))
    .description("build what the configuration selects, or a given matrix, as candidates without a load test")
    .option("--matrix <file>", "elements to build, as `matrix generate` prints them; - is standard input")
    .addOption(sandboxOption())
    .option("--retry", "also try again what failed by its own fault")
    .action(async (options) => setExit(await (await import("./commands/build.ts")).build(options)));

  defineWorkers(program, setExit);
  withPlaces(program.command("rebuild"))
    .description("build a published artifact again, in other surroundings, and compare byte by byte")
    .argument("<artifact>", "a manifest.json, or words that name one artifact of the store")
    .action(async (subject, options) =>
      setExit(await (await import("./commands/rebuild.ts")).rebuild(subject, options)),
    );

  defineStore(program, setExit);
  const cache = withPlaces(program.command("cache"))
    .description("what the local cache holds, room by room")
    .action(async (options) => setExit(await (await import("./commands/cache.ts")).list(options)));
  withPlaces(cache.command("prune"))
    .description("remove what was not used for longest until the cache is within its limit")
    .option("--limit <size>", "20G, 500M, … (default: the configured `cacheLimit`)")
    .action(async (_, command) =>
      setExit(await (await import("./commands/cache.ts")).prune(command.optsWithGlobals())),
    );

  withPlaces(program.command("doctor"))
    .description("what this machine has and lacks, and what its sandboxes truly keep; exits 3 for a problem")
    .addOption(sandboxOption())
    .action(async (options) => setExit(await (await import("./commands/doctor.ts")).doctor(options)));

  withPlaces(program.command("load"))
    .description("boot a kernel in a virtual machine, insert modules, remove them")
    .argument("<module...>", "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files, in any order")
    .requiredOption(
      "--kernel <kernel>",
      "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where that is unique",
    )
    .option(
      "--smoke <script>",
      "a POSIX sh script to run while they are in; anything but exit code 0 is a failure",
    )
    .action(async (modules, options) =>
      setExit(await (await import("./commands/load.ts")).load(modules, options)),
    );

  withPlaces(program.command("check"))
    .description(
      "whether modules belong to a kernel: what they say of themselves, and what that kernel does with them",
    )
    .argument(
      "<module...>",
      "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files; or, without --kernel, one artifact of the store",
    )
    .option(
      "--kernel <kernel>",
      "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where that is unique",
    )
    .option("--module-version <version>", "what `modinfo -F version` must say")
    .option(
      "--signer <certificate>",
      "whose signatures count beside the kernel's own; may be repeated",
      collect,
    )
    .option("--no-load", "do not boot the kernel")
    .option("--explain", "one page for whoever asks why")
    .action(async (modules, options) =>
      setExit(await (await import("./commands/check.ts")).check(modules, options)),
    );

  program
    .command("audit")
    .description(
      "what is wrong in a heap of modules: wrong kernel, damaged, doubled; reads only, needs no store",
    )
    .argument(
      "<place>",
      "a directory (/lib/modules, a DKMS tree, a bucket's copy), or an http address that lists one",
    )
    .option("--kernels <file>", "a catalog or kernel list: modules for a kernel that is not in it are told")
    .option("--json", "print the result as JSON")
    .exitOverride()
    .action(async (place, options) =>
      setExit(await (await import("./commands/audit.ts")).audit(place, options)),
    );
  defineGate(program, setExit);
  return program;
}

function defineWorkers(program: Command, setExit: SetExit): void {
  withPlaces(program.command("plan"))
    .description("write orders for workers: what `run` would build and boot here, others do")
    .requiredOption("--out <dir>", "where orders go, with all that workers need for them")
    .option("--with-packages", "let kernels' packages travel too, for workers without a network")
    .option("--hours <n>", "how long hand-overs are taken (default: 24)", toNumber)
    .option("--retry", "also order again what failed by its own fault or could not be fetched")
    .action(async (options) => setExit(await (await import("./commands/plan.ts")).plan(options)));
  withLog(program.command("work"))
    .description("carry out orders on this machine, without configuration, store or credentials")
    .argument("<orders>", "a directory that `kmodfarm plan` wrote, or a copy of it")
    .requiredOption("--out <dir>", "where hand-overs go")
    .option("--cache <dir>", "the disposable local cache (default: .kmodfarm/cache)")
    .option("--jobs <n>", "orders carried out at once (default: number of processors)", toNumber)
    .option("--share <k/n>", "only one of n equal shares of the orders, for n workers")
    .addOption(sandboxOption())
    .action(async (orders, options) =>
      setExit(await (await import("./commands/work.ts")).work(orders, options)),
    );
  withPlaces(program.command("take"))
    .description("check what workers handed over, and publish it as `run` would")
    .argument("<handovers...>", "directories that `kmodfarm work` wrote, or single hand-overs")
    .option("--orders <dir>", "the directory of orders, if another machine than this one planned them")
    .option("--no-load", "do not boot here: load tests are ordered by the next `kmodfarm plan`")
    .action(async (places, options) =>
      setExit(await (await import("./commands/take.ts")).take(places, options)),
    );
  const toolchain = program.command("toolchain").description("toolchain roots that travel");
  withPlaces(toolchain.command("export"))
    .description("write a release's toolchain root as an OCI archive: the same bytes for the same root")
    .argument("<release>", "distribution release key: debian12")
    .argument("<compiler>", "such as gcc-12")
    .option("--arch <arch>", "what it builds for (default: this machine's architecture)")
    .requiredOption("--output <file>", "the archive")
    .action(async (release, compiler, options) =>
      setExit(await (await import("./commands/toolchain.ts")).exportToolchain(release, compiler, options)),
    );
  withPlaces(toolchain.command("import"))
    .description("take a toolchain root out of such an archive into the cache")
    .argument("<file>")
    .action(async (file, options) =>
      setExit(await (await import("./commands/toolchain.ts")).importToolchain(file, options)),
    );
}

function defineGate(program: Command, setExit: SetExit): void {
  const commands = () => import("./commands/gate.ts");
  withPerson(withPlaces(program.command("promote")))
    .description("make candidates stable that the policy allows; says of the others what is missing")
    .argument("[artifact...]", "DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL, or an end or a part of it")
    .option("--all", "every candidate there is")
    .action(async (subjects, options) => setExit(await (await commands()).promote(subjects, options)));
  withPerson(withPlaces(program.command("import")))
    .description("take modules that somebody else built into the store, checked, as a candidate")
    .argument("<module...>", "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files")
    .requiredOption(
      "--target <kernel>",
      "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where unique",
    )
    .requiredOption("--driver <name>", "whose modules they are")
    .requiredOption("--driver-version <version>", "its version")
    .option("--no-load", "do not boot the kernel")
    .action(async (modules, options) => setExit(await (await commands()).importModules(modules, options)));
  withPerson(withPlaces(program.command("withdraw")))
    .description("take stable artifacts back: nodes no longer get them, and no night publishes them again")
    .argument("<artifact...>", "as for `promote`")
    .option(
      "--kernel <kernel>",
      "only what one artifact gives to that kernel by `reuse`; may be repeated",
      collect,
    )
    .action(async (subjects, options) => setExit(await (await commands()).withdraw(subjects, options)));
  withPerson(withPlaces(program.command("reuse")))
    .description(
      "let a stable artifact serve further kernels of the Enterprise Linux family: proven on each, where the policy allows it",
    )
    .argument("<artifact>", "as for `promote`")
    .requiredOption(
      "--kernel <kernel>",
      "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where unique; may be repeated",
      collect,
    )
    .action(async (subject, options) => setExit(await (await commands()).reuse(subject, options)));
  withPerson(withPlaces(program.command("rollback")))
    .description("make stable exactly what was stable in an earlier generation")
    .argument("<generation>", "its number", toNumber)
    .option("--driver <name>", "only this driver's artifacts")
    .action(async (generation, options) => setExit(await (await commands()).rollback(generation, options)));
}

/** Whoever decides is on the record. */
function withPerson(command: Command): Command {
  return command
    .requiredOption("--why <reason>", "for the record")
    .option("--by <person>", "who decides (default: this user)");
}

function defineCatalog(catalog: Command, setExit: SetExit): void {
  withPlaces(catalog.command("update"))
    .description("ask every source; exits 3 when one failed, is out of date or lost kernels")
    .option("--accept-withdrawals", "believe sources that list far fewer kernels than before")
    .action(async (options) => setExit(await (await import("./commands/catalog.ts")).update(options)));
  withSelection(withPlaces(catalog.command("list")))
    .description("every kernel ever seen")
    .action(async (options) => setExit(await (await import("./commands/catalog.ts")).list(options)));
}

function defineExchange(catalog: Command, setExit: SetExit): void {
  const formats = ["kmodfarm", "kernel-crawler", "driverkit"];
  withPlaces(catalog.command("import"))
    .description("add the kernels of another farm's catalog, a kernel list, or driverkit configurations")
    .argument("<file>", "a file, a URL, - for standard input, or a directory of configurations")
    .addOption(new Option("--as <format>", "what it is; default: what it looks like").choices(formats))
    .option("--name <list>", "the list's name, the same every time (default: its format and architecture)")
    .option("--arch <arch>", "architecture of entries that do not show theirs")
    .option("--accept-withdrawals", "believe a list that has far fewer kernels than before")
    .action(async (file, options) =>
      setExit(await (await import("./commands/catalog-import.ts")).importFile(file, options)),
    );
  withPlaces(catalog.command("export"))
    .description("write the catalog for other tools")
    .addOption(new Option("--format <format>").choices(formats).default("kmodfarm"))
    .option("--arch <arch>", "only this architecture")
    .option("--catalog <file>", "a catalog or list instead of the store's; may be repeated", collect)
    .option("--driver <name>", "the driver that driverkit's configurations are for", "driver")
    .option("--driver-version <version>", "its version")
    .option("--output <dir>", "a directory instead of standard output")
    .action(async (options) =>
      setExit(await (await import("./commands/catalog-import.ts")).exportCatalog(options)),
    );
}

function defineFind(catalog: Command, setExit: SetExit): void {
  withPlaces(catalog.command("find"))
    .description("which kernel a node runs; without options, this machine")
    .option("--uname-r <release>", "what `uname -r` says there")
    .option("--uname-v <version>", "what `uname -v` says there; Debian and Ubuntu name the build in it")
    .option("--uname-m <machine>", "what `uname -m` says there")
    .option("--os-release <file>", "the node's /etc/os-release; it only breaks ties")
    .action(async (options) => setExit(await (await import("./commands/find.ts")).find(options)));
}

function defineMatrix(matrix: Command, setExit: SetExit): void {
  withSelection(withPlaces(matrix.command("generate")))
    .description("print the matrix as a JSON array")
    .option(
      "--catalog <file>",
      "a catalog or kernel list, file or URL, instead of the store's; may be repeated",
      collect,
    )
    .option(
      "--exclude <file>",
      "what to leave out: a YAML list of exclusions, or a StackRox BLOCKLIST; may be repeated",
      collect,
    )
    .option("--driver <name>", "the driver's name; default: the configured one, else 'driver'")
    .option("--driver-version <versions>", "versions, separated by commas; default: the configured ones")
    .action(async (options) => setExit(await (await import("./commands/matrix.ts")).generate(options)));
  withPlaces(matrix.command("diff"))
    .description("print the elements of CURRENT that PREVIOUS lacks or has otherwise, as a matrix")
    .argument("<previous>")
    .argument("<current>")
    .option("--report", "say what was added, changed and removed, and why, instead")
    .action(async (previous, current, options) =>
      setExit(await (await import("./commands/matrix.ts")).diff(previous, current, options)),
    );
  withPlaces(matrix.command("show"))
    .description("what the store holds of the matrix, element by element, or what a matrix file holds")
    .argument("[file]")
    .action(async (file, options) =>
      setExit(await (await import("./commands/matrix-show.ts")).show(file, options)),
    );
}

function defineStore(program: Command, setExit: SetExit): void {
  const load = () => import("./commands/store.ts");
  withPlaces(program.command("generations"))
    .description("what was published when, by whom, and what changed with it, newest first")
    .action(async (options) => setExit(await (await load()).generations(options)));
  withPlaces(program.command("prune"))
    .description("remove old generations of the store, and files that only they named")
    .option("--keep <n>", "so many generations stay", toNumber, 100)
    .option("--grace-days <n>", "what is younger stays too, whatever names it; at least 2", toNumber, 7)
    .option("--dry-run", "only say what would be removed")
    .action(async (options) => setExit(await (await load()).pruneStore(options)));
  withPlaces(program.command("fsck"))
    .description(
      "compare what the store holds with what it should; exits 1 for what can be repaired, 4 for what is lost",
    )
    .option("--full", "read every byte, not only sizes")
    .option("--repair", "restore what the view, the blobs or the cache still have")
    .action(async (options) => setExit(await (await load()).checkStore(options)));
}

function defineShard(matrix: Command, setExit: SetExit): void {
  withPlaces(matrix.command("shard"))
    .description("cut the store's matrix, or a matrix file, into pieces of about equal expected time")
    .argument("[file]", "a matrix; - is standard input")
    .option(
      "--max-shards <n>",
      "at most so many (default: 256, GitHub's limit for the jobs of a matrix)",
      toNumber,
    )
    .option("--target-minutes <n>", "time that a shard should take (default: 10)", toNumber)
    .option("--github", "print a job output for `strategy.matrix`: ids only")
    .option("--id <shard>", "print the elements of one shard as a matrix")
    .action(async (file, options) =>
      setExit(await (await import("./commands/shard.ts")).shard(file, options)),
    );
}

/** Options that every command takes. */
function withPlaces(command: Command): Command {
  command
    .option(
      "--config <file>",
      "the configuration (default: kmodfarm.yaml of this directory, if there is one)",
    )
    .option("--store <dir>", "the registry (default: the configured one, .kmodfarm/store)")
    .option("--cache <dir>", "the disposable local cache (default: the configured one, .kmodfarm/cache)")
    .option("--jobs <n>", "elements built or booted at once (default: number of processors)", toNumber);
  return withLog(command);
}

function withLog(command: Command): Command {
  return command
    .option("--json", "print the result as JSON")
    .addOption(
      new Option("--log-format <format>", "how progress is told").choices(["text", "json"]).default("text"),
    )
    .exitOverride();
}

/** Filters, as the original tool spells them. */
function withSelection(command: Command): Command {
  return command
    .option("--distro <list>", "release keys (debian12) or distribution ids (debian), separated by commas")
    .option("--arch <list>", "x86_64, aarch64")
    .option("--flavour <list>", "generic, cloud, rt, 16k, …")
    .option("--kernel-release <expression>", "must match the whole kernel release")
    .option("--package-version <expression>", "must match the whole package version")
    .option("--first-seen <day>", "only kernels first seen on that day or later")
    .option("--newest <n>", "only so many of the newest of each release, architecture and flavour", toNumber);
}

function sandboxOption(): Option {
  return new Option("--sandbox <name>", "where builds run (default: the configured one, bwrap)").choices(
    SANDBOX_NAMES,
  );
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}
