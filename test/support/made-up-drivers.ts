/**
 * Made-up drivers with the habits of real ones that no package of Debian's happens to have: what they ask a kernel for,
 * and what they do wrong in it. Each is a tree of DKMS.
 */

type Files = Readonly<Record<string, string>>;

interface Habit {
  /** Above the functions of the module. */
  readonly before?: string;
  /** Bodies of init and exit. */
  readonly init: string;
  readonly exit?: string;
  /** Lines of dkms.conf. */
  readonly conf?: readonly string[];
  readonly kbuild?: string;
  readonly files?: Files;
}

const code = (body: Pick<Habit, "before" | "init" | "exit">) => `#include <linux/module.h>
#include <linux/init.h>
${body.before ?? ""}
static int __init own_init(void) { ${body.init} }
static void __exit own_exit(void) { ${body.exit ?? ""} }
module_init(own_init);
module_exit(own_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a test");
`;

const MODULE = (name: string, index = 0) => [
  `BUILT_MODULE_NAME[${index}]="${name}"`,
  `DEST_MODULE_LOCATION[${index}]="/updates/dkms"`,
];

function tree(name: string, habit: Habit): Files {
  const conf = [
    ...[`PACKAGE_NAME="${name}"`, 'PACKAGE_VERSION="1.0"', "AUTOINSTALL=yes"],
    ...(habit.conf ?? MODULE(name)),
  ];
  return {
    "dkms.conf": `${conf.join("\n")}\n`,
    Kbuild: habit.kbuild ?? `obj-m := ${name}.o\n`,
    [`${name}.c`]: code(habit),
    ...habit.files,
  };
}

const DEVICE = "#include <linux/device.h>\n#include <linux/firmware.h>\nstatic struct device *own;";
const firmware = (name: string, onFault: string) => `const struct firmware *found;
	own = root_device_register("${name}");
	if (IS_ERR(own)) return PTR_ERR(own);
	if (request_firmware(&found, "${name}/none.bin", own) == 0) release_firmware(found);
	else ${onFault}
	return 0;`;

const HABITS: Readonly<Record<string, Habit>> = {
  // Firmware that is on no node of the test: one cannot do without, one can.
  needy: {
    before: DEVICE,
    init: firmware("needy", "{ root_device_unregister(own); return -ENOENT; }"),
    exit: "root_device_unregister(own);",
  },
  modest: {
    before: `${DEVICE}\nMODULE_FIRMWARE("modest/none.bin");`,
    init: firmware("modest", 'dev_info(own, "goes on without\\n");'),
    exit: "root_device_unregister(own);",
  },
  // Several modules in several directories, two of them by one make and one by another.
  family: {
    init: "return family_left() + family_right();",
    before: "int family_left(void);\nint family_right(void);",
    conf: [
      ...[...MODULE("family"), ...MODULE("family_left", 1), ...MODULE("family_right", 2)],
      'BUILT_MODULE_LOCATION[1]="left"',
      'BUILT_MODULE_LOCATION[2]="right/inner/"',
      'MAKE="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build modules"',
    ],
    kbuild: "obj-m := family.o left/ right/inner/\n",
    files: Object.fromEntries(
      (
        [
          ["left", "left"],
          ["right", "right/inner"],
        ] as const
      ).flatMap(([side, place]) => [
        [`${place}/Kbuild`, `obj-m := family_${side}.o\n`],
        [
          `${place}/family_${side}.c`,
          code({
            before: `int family_${side}(void);\nint family_${side}(void) { return 0; }\nEXPORT_SYMBOL_GPL(family_${side});`,
            init: "return 0;",
          }),
        ],
      ]),
    ),
  },
  // Scripts around the build: one makes a header out of the kernel's release, one clears the source away.
  scripted: {
    before: '#include "made.h"\nMODULE_INFO(kernel, MADE_FOR);',
    init: "return 0;",
    conf: [...MODULE("scripted"), 'PRE_BUILD="before.sh $kernelver"', 'POST_BUILD="after.sh"'],
    files: {
      "before.sh": `#!/bin/sh\necho "#define MADE_FOR \\"$1\\"" >made.h\n`,
      "after.sh": "#!/bin/sh\nrm -f *.c *.h\n",
    },
  },
  // Modules that only `modprobe` brings: before, after, and by the names of algorithms and of tables of characters.
  caller: {
    before: `#include <crypto/hash.h>
#include <linux/nls.h>
MODULE_SOFTDEP("pre: dummy post: ifb");
static struct crypto_shash *hash;
static struct nls_table *table;`,
    init: `hash = crypto_alloc_shash("rmd160", 0, 0);
	if (IS_ERR(hash)) return PTR_ERR(hash);
	table = load_nls("koi8-u");
	if (!table) { crypto_free_shash(hash); return -EINVAL; }
	return 0;`,
    exit: "unload_nls(table); crypto_free_shash(hash);",
  },
  matcher: {
    before: `#include <linux/netfilter/x_tables.h>
static bool own_match(const struct sk_buff *skb, struct xt_action_param *par) { return true; }
static struct xt_match own = { .name = "matcher", .family = NFPROTO_UNSPEC, .match = own_match, .me = THIS_MODULE };
MODULE_ALIAS("ipt_matcher");`,
    init: "return xt_register_match(&own);",
    exit: "xt_unregister_match(&own);",
  },
  "two-names": {
    before: `#include <net/rtnetlink.h>
#include <linux/mii.h>
#include <linux/netdevice.h>
static void own_setup(struct net_device *dev) { dev->tx_queue_len = 1; }
static struct rtnl_link_ops own __read_mostly = { .kind = "twonames", .setup = own_setup };
MODULE_ALIAS_RTNL_LINK("twonames");
int (*own_use)(struct mii_if_info *) = mii_link_ok;`,
    init: "return rtnl_link_register(&own);",
    exit: "rtnl_link_unregister(&own);",
  },
  // What a kernel says and goes on.
  positive: { init: "return 1;" },
  duplicate: {
    before: "#include <linux/kobject.h>\nstatic struct kobject *one;",
    init: `struct kobject *other;
	one = kobject_create_and_add("duplicate", kernel_kobj);
	other = kobject_create_and_add("duplicate", kernel_kobj);
	kobject_put(other);
	return one ? 0 : -ENOMEM;`,
    exit: "kobject_put(one);",
  },
  // What is wrong in a kernel, each by a way of its own.
  leaker: {
    before: "#include <linux/slab.h>\nstatic struct kmem_cache *cache;",
    init: `cache = kmem_cache_create("leaker", 333, 0, SLAB_POISON, NULL);
	return cache && kmem_cache_alloc(cache, GFP_KERNEL) ? 0 : -ENOMEM;`,
    exit: "kmem_cache_destroy(cache);",
  },
  atomic: {
    before: "#include <linux/delay.h>\n#include <linux/spinlock.h>\nstatic DEFINE_SPINLOCK(lock);",
    init: "spin_lock(&lock); msleep(20); spin_unlock(&lock); return 0;",
  },
  forgetful: {
    before:
      "#include <linux/proc_fs.h>\n#include <linux/seq_file.h>\nstatic int own_show(struct seq_file *m, void *v) { return 0; }",
    init: 'proc_create_single("forgetful", 0, NULL, own_show); return 0;',
  },
  holder: { init: "return try_module_get(THIS_MODULE) ? 0 : -EBUSY;" },
  // What does not build, or not for each kernel.
  strict: {
    init: "int unused; return 0;",
    kbuild: "obj-m := strict.o\nccflags-y := -Wall -Werror\n",
  },
  hidden: {
    before: "#include <linux/kallsyms.h>",
    init: 'return kallsyms_lookup_name("printk") ? 0 : -EINVAL;',
  },
  unset: { init: "return 0;", kbuild: "obj-$(CONFIG_NOTHING_OF_THE_KIND) := unset.o\n" },
  choosy: {
    init: "return 0;",
    conf: [...MODULE("choosy"), 'BUILD_EXCLUSIVE_CONFIG="CONFIG_MODULES !CONFIG_NET"'],
  },
  changing: {
    before: '#ifdef BROKEN\n#include "inner/broken.h"\n#endif',
    init: "return 0;",
    conf: [
      ...MODULE("changing"),
      'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build modules"',
      'MAKE[1]="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build KCPPFLAGS=-DBROKEN modules"',
      'MAKE_MATCH[1]="^([7-9]|1[0-9])\\."',
    ],
    files: { "inner/broken.h": "static inline int broken(void) { return no_such_thing; }\n" },
  },
};

/** Files of each tree by the driver's name; its version is 1.0. */
export const MADE_UP: ReadonlyMap<string, Files> = new Map(
  Object.entries(HABITS).map(([name, habit]) => [name, tree(name, habit)]),
);
