/** Source trees of drivers for end-to-end tests, each with habits that real ones have. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

const moduleSource = (name: string, more = "") => `// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
${more}
static int __init ${name}_init(void) { return 0; }
static void __exit ${name}_exit(void) { }
module_init(${name}_init);
module_exit(${name}_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("as it was written");
`;

/** A tree of DKMS that uses nearly every word of dkms.conf, in ways that real trees do. */
export const CHIMES: Readonly<Record<string, string>> = {
  "dkms.conf": `PACKAGE_NAME="chimes"
PACKAGE_VERSION="#MODULE_VERSION#"
pushd \`dirname $BASH_SOURCE\`
BDIR="$dkms_tree/\${PACKAGE_NAME}/\${PACKAGE_VERSION}/build"
popd
. $kernel_source_dir/.config
if [ "\${CONFIG_MODULES:-n}" = n ]; then BUILD_EXCLUSIVE_KERNEL="REQUIRES CONFIG_MODULES"; fi
BUILD_EXCLUSIVE_KERNEL_MIN="4.0"
BUILD_EXCLUSIVE_CONFIG="CONFIG_NET !CONFIG_NO_SUCH_THING"
MAKE[0]="make -C no-such-place"
MAKE[1]="make -C \${kernel_source_dir} M=\${BDIR}/src modules ; find \${BDIR} -name '*.ko' -exec mv -v {} \${BDIR} \\;"
MAKE_MATCH[1]="^[4-9]\\."
CLEAN="make -C \${kernel_source_dir} M=\${BDIR}/src clean"
PATCH[0]="always.patch"
PATCH[1]="never.patch"
PATCH_MATCH[1]="^2\\.6"
PRE_BUILD="prepare.sh \${kernelver}"
POST_BUILD="forget.sh"
BUILT_MODULE_NAME[0]="chimes"
DEST_MODULE_LOCATION[0]="/extra"
BUILT_MODULE_NAME[1]="wind"
BUILT_MODULE_LOCATION[1]="./"
DEST_MODULE_LOCATION[1]="/extra"
STRIP[1]="no"
NO_WEAK_MODULES="yes"
BUILD_DEPENDS[0]="bells"
AUTOINSTALL="yes"
`,
  "prepare.sh": `#!/bin/sh
set -e
echo "#define BUILT_FOR \\"$1\\"" >src/version.h
said=$(echo 'all:;@echo "$(CROSS_COMPILE)"' | env -i PATH="$PATH" make -s -f -)
[ "$said" = "\${CROSS_COMPILE-}" ]
`,
  "forget.sh": "#!/bin/sh\nrm -f *.ko\n",
  "patches/always.patch": `--- a/src/chimes.c
+++ b/src/chimes.c
@@ -6,5 +6,5 @@
 static void __exit chimes_exit(void) { }
 module_init(chimes_init);
 module_exit(chimes_exit);
 MODULE_LICENSE("GPL");
-MODULE_DESCRIPTION("as it was written");
+MODULE_DESCRIPTION("as it was patched");
`,
  "patches/never.patch": "--- a/none\n+++ b/none\n@@ -1,1 +1,1 @@\n-a\n+b\n",
  "src/Kbuild": "obj-m := chimes.o wind.o\n",
  "src/chimes.c": moduleSource(
    "chimes",
    '#include "version.h"\nMODULE_VERSION(BUILT_FOR); MODULE_INFO(place, __FILE__);',
  ),
  "src/wind.c": moduleSource("wind"),
};

/** A tree of DKMS whose dkms.conf takes one architecture only, and calls plain make as old ones do. */
export const PICKY: Readonly<Record<string, string>> = {
  "dkms.conf": `PACKAGE_NAME="picky"
PACKAGE_VERSION="0.0.20130228"
BUILD_EXCLUSIVE_ARCH="^x86_64$"
MAKE="'make' KVER=$kernelver all"
BUILT_MODULE_NAME="picky"
DEST_MODULE_LOCATION="/kernel/drivers/misc"
`,
  Makefile: `KVER ?= $(shell uname -r)
KDIR := /lib/modules/$(shell uname -r)/build
ifneq ($(KERNELRELEASE),)
obj-m := picky.o
else
all:
	grep -q '^CONFIG_MODULES=y' /boot/config-$(KVER)
	test -e /lib/modules/$(KVER)/source/Makefile
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
endif
`,
  "picky.c": moduleSource("picky"),
};

/** A makefile that asks the machine what it is, and knows of no other compiler, as many do. */
export const MACHINE: Readonly<Record<string, string>> = {
  Makefile: `ifneq ($(KERNELRELEASE),)
obj-m := machine.o
else
ARCH := $(shell uname -m)
CROSS_COMPILE :=
all:
	$(MAKE) ARCH=$(ARCH) CROSS_COMPILE=$(CROSS_COMPILE) -C /lib/modules/$(shell uname -r)/build M=$(CURDIR) modules
endif
`,
  "machine.c": moduleSource("machine"),
};

/** A tree with configure and a Makefile of its own in a directory, and with firmware. */
export const SHAPED: Readonly<Record<string, string>> = {
  configure: `#!/bin/sh
set -e
echo 'int main(void) { return 0; }' >conftest.c
cc -c conftest.c
[ "$(gcc -dumpmachine)" = "$(\${CC#$CROSS_COMPILE} -dumpmachine)" ]
grep -q CONFIG_MODULES=y "$KERNEL_SOURCE/.config"
sed "s/@KVERSION@/$KVERSION/" module/Makefile.in >module/Makefile
`,
  "module/Makefile.in": `# for @KVERSION@
obj-m := shaped.o
ccflags-y := -DVERSION=\\"$(DRIVER_VERSION)\\"
all:
	$(MAKE) -C $(KERNEL_SOURCE) M=$(CURDIR) modules
`,
  "module/shaped.c": moduleSource("shaped", "MODULE_VERSION(VERSION);"),
  "firmware/bell.bin": "ding",
  "firmware/readme.txt": "not firmware",
};

/** Writes a tree; what begins with `#!` can be executed. */
export async function writeTree(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    if (content.startsWith("#!")) await chmod(file, 0o755);
  }
}

/** Makes a repository of a directory, with one commit that `tag` names; returns the commit. */
export function commitTree(directory: string, tag: string): string {
  const git = (...argv: string[]) =>
    execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@b.example", ...argv], { cwd: directory })
      .toString()
      .trim();
  git("init", "--quiet");
  git("add", "--all");
  git("commit", "--quiet", "--message=all");
  git("tag", tag);
  return git("rev-parse", "HEAD");
}
