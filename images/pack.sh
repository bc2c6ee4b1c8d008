#!/bin/sh
# Gives modules the shapes that nodes want, in a sandbox of its own that holds nothing of the driver but them; the
# flags are those of the kernel's own modules_install. POSIX sh only.
#
#   /run/kmodfarm/modules   modules as they were built
#   /run/kmodfarm/shapes    a line for each: whether it is stripped (yes, no), its name
#   /output                 gets stripped/NAME.ko and compressed/NAME.ko.ENDING
#
# Environment: STRIP, the program that takes debugging information out; [COMPRESS] xz, zstd or gz.
set -eu
mkdir -p /output/stripped /output/compressed
while read -r strip name; do
	file=/run/kmodfarm/modules/$name.ko
	if [ "$strip" = yes ]; then
		"$STRIP" --strip-debug -o "/output/stripped/$name.ko" "$file"
		file=/output/stripped/$name.ko
	fi
	case ${COMPRESS-} in
	xz) xz --check=crc32 --lzma2=dict=1MiB -c "$file" >"/output/compressed/$name.ko.xz" ;;
	zstd) zstd -q -T1 -c "$file" >"/output/compressed/$name.ko.zst" ;;
	gz) gzip -n -9 -c "$file" >"/output/compressed/$name.ko.gz" ;;
	esac
done </run/kmodfarm/shapes
