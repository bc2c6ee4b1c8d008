#!/usr/bin/env bash
# A real S3 server with conditional writes on this machine: Ceph's radosgw on one memory-backed OSD, from Debian's own
# packages: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
# (64 MB to fetch, 284 MB on disk; up in 16 to 40 s; 250 MB of memory; nothing is kept after `down`.)
#
#   radosgw-up.sh DIR [PORT]     starts; S3 at http://127.0.0.1:PORT (default 7480), path style, key test, secret testing
#   radosgw-up.sh DIR down       stops what it started
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd); port=${2:-7480}
stop() { for p in rgw osd mon; do [[ -f $dir/$p.pid ]] && kill "$(cat "$dir/$p.pid")" 2>/dev/null || true; rm -f "$dir/$p.pid"; done; }
stop; [[ $port == down ]] && exit 0
rm -rf "$dir"/{mon,osd,rgw,keyring,monmap}; mkdir -p "$dir"/{mon,osd,rgw}
export CEPH_CONF=$dir/ceph.conf; fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$CEPH_CONF" <<C
[global]
fsid = $fsid
mon_host = v1:127.0.0.1:$((port + 1))
mon_initial_members = a
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr2 = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_class_dir = $(dirname "$(find /usr/lib -path '*rados-classes/libcls_rgw.so' | head -1)")
osd_objectstore = memstore
memstore_device_bytes = 4294967296
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 10000
mon_data_avail_crit = 1
mon_data = $dir/mon
osd_data = $dir/osd
rgw_data = $dir/rgw
run_dir = $dir
admin_socket =
pid_file =
log_file =
log_to_stderr = true
keyring = $dir/keyring
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_enable_quota_threads = false
C
start() { local name=$1; shift; setsid "$@" >"$dir/$name.log" 2>&1 & echo $! >"$dir/$name.pid"; }
until_true() { local tries=$1; shift; for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.3; done; return 1; }
ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' >/dev/null
monmaptool --create --clobber --addv a "[v1:127.0.0.1:$((port + 1))]" --fsid "$fsid" "$dir/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" >"$dir/mkfs.log" 2>&1
start mon ceph-mon -f -i a
until_true 100 timeout 5 ceph mon stat || { tail -5 "$dir/mon.log" >&2; exit 3; }
osd=$(cat /proc/sys/kernel/random/uuid); ceph osd new "$osd" 0 >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" >>"$dir/mkfs.log" 2>&1
# Now and then an OSD that comes right after its monitor is not heard of again: a second start helps.
is_up() { ceph osd stat 2>/dev/null | grep -q '1 up'; }
for _ in 1 2 3; do start osd ceph-osd -f -i 0; until_true 40 is_up && break; kill "$(cat "$dir/osd.pid")" 2>/dev/null || true; sleep 1; done
is_up || { tail -5 "$dir/osd.log" >&2; exit 3; }
start rgw radosgw -f -n client.admin
until_true 200 curl -fs "http://127.0.0.1:$port/" || { tail -5 "$dir/rgw.log" >&2; exit 3; }
radosgw-admin user create --uid=test --display-name=test --access-key=test --secret-key=testing >"$dir/user.log" 2>&1
echo "S3 at http://127.0.0.1:$port (key test, secret testing)"
