/** Trees of DKMS that are made up, each from a number, with the habits and the faults that real ones have. */

/** What of the world around them the trees may know: a kernel that copies sources instead of compiling them. */
export const FAKE_KERNEL = { release: "6.12.118+deb13-amd64", architecture: "x86_64" } as const;

const CONFIG = ["CONFIG_MODULES=y", "CONFIG_NET=y", "CONFIG_SOUND=m", "# CONFIG_PREEMPT_RT is not set", ""];

/** Files of the kernel's build directory. A module is its source; `NAME.needs` names a file that it cannot do without. */
export const FAKE_HEADERS: Readonly<Record<string, string>> = {
  "include/generated/utsrelease.h": `#define UTS_RELEASE "${FAKE_KERNEL.release}"\n`,
  "include/config/auto.conf": CONFIG.join("\n"),
  ".config": CONFIG.join("\n"),
  Makefile: `modules:
-include $(M)/Kbuild
modules: $(addprefix $(M)/,$(obj-m:.o=.ko))
$(M)/%.ko: $(M)/%.c
	@! grep -n '#error' $< | sed 's|^|$<:|; s|:#error|:2: error: #error|' | grep .
	@[ ! -e $(M)/$*.needs ] || [ -e $(M)/$$(cat $(M)/$*.needs) ] || { echo "$*: $$(cat $(M)/$*.needs) is missing"; exit 1; }
	cp $< $@
clean:
	rm -f $(M)/*.ko $(M)/*.o
`,
};

export interface DkmsTree {
  readonly name: string;
  readonly version: string;
  readonly files: Readonly<Record<string, string>>;
}

interface Dice {
  /** Whether something happens that happens so often. */
  chance(often: number): boolean;
  pick<T>(from: readonly T[]): T;
}

function diceOf(seed: number): Dice {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    chance: (often) => next() < often,
    pick: (from) => from[Math.floor(next() * from.length)] as (typeof from)[number],
  };
}

interface Draft {
  readonly dice: Dice;
  readonly name: string;
  readonly lines: string[];
  readonly files: Record<string, string>;
}

/** The tree of a number: the same one each time. */
export function dkmsTree(seed: number): DkmsTree {
  const dice = diceOf(seed);
  const draft: Draft = { dice, name: `dkms${seed}_test`, lines: [], files: {} };
  const version = dice.pick(["1.0", "2.1-3", "20231108git", "0.9+dfsg"]);
  say(draft, "PACKAGE_NAME", draft.name, 0.01);
  say(draft, "PACKAGE_VERSION", version, 0.01);
  addNoise(draft);
  addModules(draft);
  addMake(draft);
  for (const add of [addExclusions, addScripts, addPatches, addClean, addFlags, addDepends])
    if (dice.chance(0.4)) add(draft);
  addNoise(draft);
  if (dice.chance(0.04)) addEnd(draft);
  const text = `${draft.lines.join("\n")}\n`;
  draft.files["dkms.conf"] = dice.chance(0.03) ? text.replaceAll("\n", "\r\n") : text;
  if (dice.chance(0.01)) return { name: draft.name, version, files: { "dkms.conf": text } };
  return { name: draft.name, version, files: draft.files };
}

/** Writes a directive in one of the ways in which a shell takes it; seldom it is forgotten. */
function say({ dice, lines }: Draft, directive: string, value: string, forgotten = 0): void {
  if (dice.chance(forgotten)) return;
  const isPlain = /^[\w./+-]+$/.test(value);
  const ways = [
    () => `${directive}="${value.replaceAll('"', '\\"')}"`,
    () => `${directive}="${value.replaceAll('"', '\\"')}"  # as it is`,
    () => `${directive}="${value.replaceAll('"', '\\"').replace(" ", " \\\n  ")}"`,
    ...(value.includes("'") ? [] : [() => `${directive}='${value}'`]),
    ...(isPlain ? [() => `${directive}=${value}`, () => `${directive}=$(echo ${value})`] : []),
    ...(directive.includes("[") ? [] : [() => `${directive}[0]="${value.replaceAll('"', '\\"')}"`]),
  ];
  lines.push((dice.chance(0.6) ? (ways[0] as () => string) : dice.pick(ways))());
}

function addModules(draft: Draft): void {
  const { dice, lines, files, name } = draft;
  const modules = dice.chance(0.6) ? [name] : dice.chance(0.7) ? [name, "second"] : [name, "second", "third"];
  const made = modules.filter(() => !dice.chance(0.03));
  files.Kbuild = `obj-m := ${made.map((one) => `${one}.o`).join(" ")}\n`;
  const inArray = dice.chance(0.08);
  if (inArray) lines.push(`BUILT_MODULE_NAME=(${modules.join(" ")})`);
  for (const [place, module] of modules.entries()) {
    const index = dice.chance(0.02) ? place + 1 : place;
    files[`${module}.c`] = `/* ${module} */\n${dice.chance(0.05) ? "#error broken\n" : ""}`;
    if (!inArray && !(modules.length === 1 && dice.chance(0.2)))
      say(draft, `BUILT_MODULE_NAME[${index}]`, dice.chance(0.02) ? `${module}.ko` : module, 0.01);
    if (dice.chance(0.15))
      say(draft, `BUILT_MODULE_LOCATION[${index}]`, dice.pick(["", "./", ".", "./", "src"]));
    if (dice.chance(0.1))
      say(draft, `DEST_MODULE_NAME[${index}]`, dice.pick([module, module, `${module}_x`, "same", "bad.ko"]));
    const location = dice.pick(["/extra", "/updates", "/kernel/drivers/misc", "/updates/dkms"]);
    say(draft, `DEST_MODULE_LOCATION[${index}]`, dice.chance(0.02) ? "extra" : location, 0.01);
    if (dice.chance(0.2))
      say(draft, `STRIP[${index}]`, dice.pick(["no", "No", "NO", "never", "yes", "YES", "", "false", "0"]));
  }
}

const GOOD = "make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build";
const COMMANDS = [
  GOOD,
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's
  "make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules",
  "make -C /lib/modules/$kernelver/build M=`pwd`",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's
  "make -C /lib/modules/${kernelver}/build M=$(pwd)",
  "'make' -C $kernel_source_dir M=$PWD",
  "make   -C   $kernel_source_dir   M=$PWD",
  "cd . && make -C $kernel_source_dir M=$PWD",
  "make -C $kernel_source_dir M=$PWD;",
  "make -C $kernel_source_dir M=$PWD # all of it",
  "make -C $kernel_source_dir M=$PWD && touch done || exit 4",
  'make -C $kernel_source_dir M=$PWD CFLAGS="-DA"',
  'make -C $kernel_source_dir M=$PWD CFLAGS="-DA -DB"',
  "make -C $kernel_source_dir M=$PWD X=*.nothing",
  "make -C $source_tree/../../$kernel_source_dir M=$PWD",
  "make -C $mine M=$PWD",
  "make -C $kernel_source_dir M=$PWD nothing",
  "true",
  "exit 3",
];

function addMake(draft: Draft): void {
  const { dice, lines } = draft;
  if (dice.chance(0.25)) return;
  if (dice.chance(0.1)) lines.push("mine=$kernel_source_dir");
  const command = dice.chance(0.6) ? GOOD : dice.pick(COMMANDS);
  if (dice.chance(0.5)) {
    say(draft, dice.pick(["MAKE", "MAKE[0]"]), command);
    return;
  }
  say(draft, "MAKE[0]", dice.chance(0.5) ? command : "make -C no-such-place");
  const second = dice.chance(0.1) ? 2 : 1;
  say(draft, `MAKE[${second}]`, dice.pick(COMMANDS));
  say(
    draft,
    `MAKE_MATCH[${second}]`,
    dice.pick(["^6\\.", "^[4-9]\\.", "^2\\.6", "(", "deb13", "", "6.12"]),
    0.1,
  );
  if (dice.chance(0.1)) say(draft, "MAKE_MATCH[0]", dice.pick(["^6", "^5", "("]));
}

function addExclusions(draft: Draft): void {
  const { dice } = draft;
  const index = dice.chance(0.2) ? "[1]" : dice.chance(0.1) ? "[0]" : "";
  const all: readonly (readonly [string, readonly string[]])[] = [
    [
      "BUILD_EXCLUSIVE_KERNEL",
      ["^6\\.", "^[5-9]\\.", "^2\\.6", "(", "REQUIRES CONFIG_NET", "6.12.*amd64$", ".*"],
    ],
    ["BUILD_EXCLUSIVE_ARCH", ["x86_64", "^(x86_64|aarch64)$", "aarch64", "i.86"]],
    [
      "BUILD_EXCLUSIVE_CONFIG",
      ["CONFIG_NET", "CONFIG_NET !CONFIG_PREEMPT_RT", "!CONFIG_NET", "CONFIG_(NET|X)"],
    ],
    ["BUILD_EXCLUSIVE_KERNEL_MIN", ["4.0", "6.12", "6.12.118", "6.12.119", "6.13", "10", "6.2"]],
    ["BUILD_EXCLUSIVE_KERNEL_MAX", ["6.12", "6.12.118", "6.13", "6.12.999", "5.99", "9"]],
  ];
  const [name, values] = dice.pick(all);
  say(draft, `${name}${index}`, dice.pick(values));
  if (dice.chance(0.15)) say(draft, "OBSOLETE_BY", dice.pick(["6.12", "6.13", "6.12.118", "7.0-1", "5.4"]));
}

function addScripts(draft: Draft): void {
  const { dice, files } = draft;
  for (const hook of ["PRE_BUILD", "POST_BUILD", "POST_ADD", "POST_INSTALL", "PRE_INSTALL", "POST_REMOVE"]) {
    if (!dice.chance(0.3)) continue;
    const script = `${hook.toLowerCase()}.sh`;
    const code = dice.chance(0.3) ? dice.pick([1, 3, 77, 127]) : 0;
    const end = `exit ${code}\n`;
    const bodies = ["", "rm -f *.ko\n", `echo "$1" >${hook}.txt\n`, "[ -e dkms.conf ] || exit 9\n"];
    if (!dice.chance(0.05))
      files[script] = `${dice.chance(0.05) ? "" : "#!/bin/sh\n"}${dice.pick(bodies)}${end}`;
    const tails = ["", "", "", " $kernelver", " a  b", " && true", " || true", "; true"];
    say(draft, hook, `${dice.chance(0.1) ? "./" : ""}${script}${dice.pick(tails)}`);
  }
}

function addPatches(draft: Draft): void {
  const { dice, files, name } = draft;
  const line = (sign: string, text: string) => `${sign}${text}\n`;
  const change = (from: string, to: string) =>
    [`--- a/${name}.c\n+++ b/${name}.c\n@@ -1 +1 @@\n`, line("-", from), line("+", to)].join("");
  const patches: Readonly<Record<string, string | undefined>> = {
    "good.patch": change(`/* ${name} */`, `/* ${name} */ // patched`),
    "already.patch": change("/* as it was */", `/* ${name} */`),
    "wrong.patch": change("/* no such line */", "/* another */"),
    "missing.patch": undefined,
    "../good.patch": undefined,
  };
  const count = dice.pick([1, 1, 2]);
  for (let place = 0; place < count; place++) {
    const file = dice.chance(0.6) ? "good.patch" : dice.pick(Object.keys(patches));
    const content = patches[file];
    if (content !== undefined) files[`patches/${file}`] = content;
    const index = dice.chance(0.05) ? place + 2 : place;
    say(draft, `PATCH[${index}]`, file);
    if (dice.chance(0.4)) say(draft, `PATCH_MATCH[${index}]`, dice.pick(["^6", "^2\\.6", "(", "deb"]));
  }
}

function addClean(draft: Draft): void {
  const { dice, files, name } = draft;
  if (dice.chance(0.7))
    say(draft, "CLEAN", dice.pick([`${GOOD} clean`, "make clean", "true", "rm -f shipped.o", "exit 9"]));
  if (!dice.chance(0.6)) return;
  files["shipped.o"] = "an object\n";
  files[`${name}.needs`] = "shipped.o\n";
}

function addFlags(draft: Draft): void {
  const { dice } = draft;
  if (dice.chance(0.8))
    say(draft, "AUTOINSTALL", dice.pick(["yes", "yes", "yes", "YES", "Yes", "no", "", "maybe"]));
  if (dice.chance(0.2)) say(draft, "NO_WEAK_MODULES", dice.pick(["yes", "no", "true"]));
  if (dice.chance(0.2)) say(draft, "REMAKE_INITRD", dice.pick(["no", "yes"]));
}

function addDepends(draft: Draft): void {
  if (draft.dice.chance(0.15)) say(draft, draft.dice.pick(["BUILD_DEPENDS", "BUILD_DEPENDS[0]"]), "bells");
}

/** Shell that real ones have between their directives. */
function addNoise({ dice, lines }: Draft): void {
  if (!dice.chance(0.3)) return;
  lines.push(
    ...dice.pick<readonly string[]>([
      ["# a comment with \"quotes' in it"],
      [""],
      ['if [ "$arch" = x86_64 ]; then', '  X="yes"', "fi"],
      ['case "$kernelver" in 6.*) NOTHING=1 ;; *) AUTOINSTALL=never ;; esac'],
      ['pushd "$(dirname "$BASH_SOURCE")"', "popd"],
      [". $kernel_source_dir/.config"],
      ["cd /tmp"],
      ["no_such_command --version"],
      ["export KVER=$kernelver"],
      ["function helper() { true; }", "helper"],
      ["echo said on stdout", "echo said on stderr >&2"],
      ["set -u"],
      ["IFS=,"],
      ["shopt -s nullglob"],
      ["[ -n $kernel_config ] && [ -e $kernel_config ] || PACKAGE_VERSION="],
      ["while read -r word; do :; done <<END", "one", "END"],
    ]),
  );
}

function addEnd({ dice, lines }: Draft): void {
  const at = dice.pick([lines.length, lines.length, Math.floor(lines.length / 2)]);
  const words = ["exit 0", "return 0", "if true; then", 'X="', ")", "set -e; false", "}"];
  lines.splice(at, 0, dice.pick(words));
}
