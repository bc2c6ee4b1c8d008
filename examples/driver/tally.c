// SPDX-License-Identifier: GPL-2.0
/* A counter that other modules use: the library half of the example driver. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/module.h>

#include "tally.h"

static atomic64_t sum = ATOMIC64_INIT(0);

s64 tally_add(s64 amount)
{
	return atomic64_add_return(amount, &sum);
}
EXPORT_SYMBOL_GPL(tally_add);

static int __init tally_init(void)
{
	pr_info("version %s, counting from zero\n", DRIVER_VERSION);
	return 0;
}

static void __exit tally_exit(void)
{
	pr_info("the last sum was %lld\n", (long long)tally_add(0));
}

module_init(tally_init);
module_exit(tally_exit);

MODULE_LICENSE("GPL");
MODULE_VERSION(DRIVER_VERSION);
MODULE_DESCRIPTION("Example: a counter for other modules");
