// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch: /proc/version names the kernel, and no longer who built it where. Small enough to see
 * what a live patch is, and visible enough to see that it is there.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/utsname.h>

static int short_version_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%s version %s (live-patched)\n", utsname()->sysname, utsname()->release);
	return 0;
}

static struct klp_func functions[] = {
	{ .old_name = "version_proc_show", .new_func = short_version_show },
	{ }
};

/* Without a name: the kernel itself. */
static struct klp_object objects[] = {
	{ .funcs = functions },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init short_version_init(void)
{
	return klp_enable_patch(&patch);
}

/* The kernel lets it go only after it was disabled. */
static void __exit short_version_exit(void)
{
}

module_init(short_version_init);
module_exit(short_version_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("example of a live patch");
MODULE_INFO(livepatch, "Y");
