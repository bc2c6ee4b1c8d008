// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/doorbell: every write rings it, every read tells how often it was rung.
 * The visible half of the example driver; it needs tally for the counting.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "tally.h"

static ssize_t doorbell_read(struct file *file, char __user *to, size_t length, loff_t *offset)
{
	char text[48];
	int size = scnprintf(text, sizeof(text), "rung %lld times\n", (long long)tally_add(0));

	return simple_read_from_buffer(to, length, offset, text, size);
}

static ssize_t doorbell_write(struct file *file, const char __user *from, size_t length, loff_t *offset)
{
	pr_info("rung for the %lld. time\n", (long long)tally_add(1));
	return length;
}

static const struct file_operations doorbell_operations = {
	.owner = THIS_MODULE,
	.read = doorbell_read,
	.write = doorbell_write,
};

static struct miscdevice doorbell = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "doorbell",
	.mode = 0666,
	.fops = &doorbell_operations,
};

static int __init doorbell_init(void)
{
	int failed = misc_register(&doorbell);

	if (failed)
		return failed;
	pr_info("version %s, /dev/doorbell is ready\n", DRIVER_VERSION);
	return 0;
}

static void __exit doorbell_exit(void)
{
	misc_deregister(&doorbell);
}

module_init(doorbell_init);
module_exit(doorbell_exit);

MODULE_LICENSE("GPL");
MODULE_VERSION(DRIVER_VERSION);
MODULE_DESCRIPTION("Example: a doorbell that counts");
