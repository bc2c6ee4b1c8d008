/**
 * Changes of the kernel's programming interface that out-of-tree drivers meet most: what to do instead.
 */

interface KernelChange {
  /** The release of the kernel that brought it, where one must choose; distributions that backport have it earlier. */
  readonly since?: string;
  readonly change: string;
}

/** By the name that a compiler complains of: a function, type, member, macro or header. */
const CHANGES: Readonly<Record<string, KernelChange>> = {
  DEFINE_SEMAPHORE: { since: "6.4", change: "it also takes the count, which was 1 before" },
  PDE_DATA: { since: "5.17", change: "it is called pde_data()" },
  VFL_TYPE_GRABBER: { since: "5.7", change: "it is called VFL_TYPE_VIDEO" },
  access_ok: {
    since: "5.0",
    change: "it takes only an address and a size, without VERIFY_READ or VERIFY_WRITE",
  },
  VERIFY_READ: { since: "5.0", change: "access_ok() takes only an address and a size" },
  VERIFY_WRITE: { since: "5.0", change: "access_ok() takes only an address and a size" },
  acpi_bus_get_device: { since: "5.18", change: "acpi_fetch_acpi_dev() replaces it" },
  alloc_disk: { since: "5.15", change: "blk_alloc_disk() replaces it" },
  "asm/unaligned.h": { since: "6.12", change: "it is <linux/unaligned.h>" },
  blkdev_get_by_path: { since: "6.9", change: "bdev_file_open_by_path() replaces it" },
  class_create: { since: "6.4", change: "it takes only the name, without THIS_MODULE" },
  complete_and_exit: { since: "5.17", change: "it is called kthread_complete_and_exit()" },
  del_timer: { since: "6.15", change: "it is called timer_delete()" },
  del_timer_sync: { since: "6.15", change: "it is called timer_delete_sync()" },
  dma_zalloc_coherent: { since: "5.1", change: "dma_alloc_coherent() itself returns zeroed memory" },
  do_gettimeofday: { since: "5.0", change: "ktime_get_real_ts64() replaces it" },
  from_timer: { since: "6.16", change: "it is called timer_container_of()" },
  get_fs: {
    since: "5.18",
    change: "it no longer exists; use kernel_read(), kernel_write() and similar functions",
  },
  getnstimeofday: { since: "5.6", change: "ktime_get_real_ts64() replaces it" },
  hrtimer_init: { since: "6.15", change: "hrtimer_setup() replaces it, and takes the function" },
  ida_simple_get: { since: "6.13", change: "ida_alloc() and similar functions replace it" },
  ida_simple_remove: { since: "6.13", change: "ida_free() replaces it" },
  ioremap_nocache: { since: "5.6", change: "ioremap() does the same" },
  kallsyms_lookup_name: {
    since: "5.7",
    change: "it is no longer exported; refer to the symbols that the driver needs by name, or use a kprobe",
  },
  "linux/genhd.h": { since: "5.18", change: "it is part of <linux/blkdev.h>" },
  mm_segment_t: {
    since: "5.18",
    change: "it no longer exists; use kernel_read(), kernel_write() and similar functions",
  },
  mmap_sem: { since: "5.8", change: "it is mmap_lock, taken with mmap_read_lock() and similar functions" },
  netif_napi_add: { since: "6.1", change: "it takes no weight; netif_napi_add_weight() does" },
  netif_rx_ni: { since: "5.18", change: "netif_rx() does the same" },
  no_llseek: { since: "6.12", change: "omit the member" },
  pci_alloc_consistent: { since: "5.18", change: "dma_alloc_coherent() replaces it" },
  pci_map_single: { since: "5.18", change: "dma_map_single() replaces it" },
  pci_set_dma_mask: { since: "5.18", change: "dma_set_mask() replaces it" },
  prandom_u32: { since: "6.1", change: "get_random_u32() replaces it" },
  proc_create: { since: "5.6", change: "it takes struct proc_ops instead of struct file_operations" },
  proc_create_data: { since: "5.6", change: "it takes struct proc_ops instead of struct file_operations" },
  register_shrinker: { since: "6.7", change: "shrinker_alloc() and shrinker_register() replace it" },
  register_sysctl_table: { since: "6.6", change: "register_sysctl() replaces it" },
  set_fs: {
    since: "5.18",
    change: "it no longer exists; use kernel_read(), kernel_write() and similar functions",
  },
  "stdarg.h": { since: "5.16", change: "it is <linux/stdarg.h>" },
  strlcpy: { since: "6.8", change: "strscpy() replaces it; it returns -E2BIG if the text was truncated" },
  strncpy: { change: "gone; strscpy() and strscpy_pad() replace it in every kernel since 4.14" },
  "struct timeval": { since: "5.6", change: "it no longer exists; use struct timespec64 or ktime_t" },
  "struct timespec": { since: "5.6", change: "it no longer exists; use struct timespec64 or ktime_t" },
  u64_stats_fetch_begin_irq: { since: "6.3", change: "u64_stats_fetch_begin() does the same" },
  vm_flags: { since: "6.3", change: "use vm_flags_set() and vm_flags_clear()" },
};

/** What is known of the name that a symptom speaks of, as advice. */
export function changeOf(words: Readonly<Record<string, string | undefined>>): string | undefined {
  for (const word of [words.name, words.header]) {
    const known = word === undefined || !Object.hasOwn(CHANGES, word) ? undefined : CHANGES[word];
    if (known === undefined || word === undefined) continue;
    if (known.since === undefined) return `${word} is ${known.change}.`;
    const [major, minor] = known.since.split(".");
    return `${word}: since Linux ${known.since}, ${known.change}. Keep both variants, selected by \`#if LINUX_VERSION_CODE >= KERNEL_VERSION(${major}, ${minor}, 0)\`.`;
  }
  return undefined;
}
