/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KMODFARM_EXAMPLE_TALLY_H
#define KMODFARM_EXAMPLE_TALLY_H

#include <linux/types.h>

/* Adds to the tally and returns the new sum. */
s64 tally_add(s64 amount);

#endif
