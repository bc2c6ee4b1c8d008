/** A driver of many source files, as large vendors' are: one module of 60 of them, which differ only in their names. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const COUNT = 60;

export async function writeManyFiles(directory: string): Promise<void> {
  const parts = Array.from({ length: COUNT }, (_, index) => `part${index}`);
  const files: Record<string, string> = {
    Kbuild: `obj-m := many.o\nmany-y := main.o ${parts.map((part) => `${part}.o`).join(" ")}\n`,
    "many.h": `#pragma once\n#include <linux/seq_file.h>\n${parts.map((part) => `int ${part}_show(struct seq_file *out);`).join("\n")}\n`,
    "main.c": mainSource(parts),
    ...Object.fromEntries(parts.map((part) => [`${part}.c`, partSource(part)])),
  };
  await mkdir(directory, { recursive: true });
  for (const [path, text] of Object.entries(files)) await writeFile(join(directory, path), text);
}

function mainSource(parts: readonly string[]): string {
  return `// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <linux/proc_fs.h>
#include "many.h"

static int many_show(struct seq_file *out, void *unused)
{
	return ${parts.map((part) => `${part}_show(out)`).join(" + ")};
}

static int __init many_init(void)
{
	return proc_create_single("many", 0444, NULL, many_show) ? 0 : -ENOMEM;
}

static void __exit many_exit(void)
{
	remove_proc_entry("many", NULL);
}

module_init(many_init);
module_exit(many_exit);
MODULE_LICENSE("GPL");
`;
}

/** With the headers that drivers usually include, which is what most of a compilation is about. */
function partSource(part: string): string {
  return `// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include "many.h"

static DEFINE_MUTEX(lock);
static u64 seen;

int ${part}_show(struct seq_file *out)
{
	char *text = kasprintf(GFP_KERNEL, "${part} %llu", (unsigned long long)seen);

	if (!text)
		return -ENOMEM;
	mutex_lock(&lock);
	seen++;
	seq_printf(out, "%s\\n", text);
	mutex_unlock(&lock);
	kfree(text);
	return 0;
}
`;
}
