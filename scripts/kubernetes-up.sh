#!/usr/bin/env bash
# A real API server of Kubernetes on this machine, for tests: etcd, kube-apiserver and kubectl, on 127.0.0.1 alone. The last two
# are built once from Debian 12's source package, which takes some ten minutes on two processors.
# Usage: kubernetes-up.sh DIRECTORY up|down. "up" prints nothing; DIRECTORY/kubeconfig and DIRECTORY/bin/kubectl are there then.
set -euo pipefail
directory=$(realpath -m "$1") action=${2-up}
bin=$directory/bin run=$directory/run
go_path=$directory/go source=$directory/go/src/k8s.io/kubernetes
PORT=16443 ETCD_PORT=12379 ETCD_PEER_PORT=12380

stop() {
	for name in apiserver etcd; do
		if [ -f "$run/$name.pid" ]; then kill "$(cat "$run/$name.pid")" 2>/dev/null || true; fi
		rm -f "$run/$name.pid"
	done
}

# The source package, by the lists of this machine's own apt sources and nothing else of it.
fetch_source() {
	local lists=$directory/apt
	mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
	cat /etc/apt/sources.list.d/debian.sources | sed 's/^Types: deb$/Types: deb-src/' >"$lists/debian.sources"
	local options=(-o "Dir::Etc::SourceList=$lists/debian.sources" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists/cache" -qq)
	apt-get "${options[@]}" update
	(cd "$directory" && apt-get "${options[@]}" source --download-only kubernetes && tar xf kubernetes_*.orig.tar.gz)
	mkdir -p "$(dirname "$source")"
	mv "$directory"/kubernetes-1.* "$source"
}

build() {
	[ -d "$source" ] || fetch_source
	cd "$source"
	# The source's own copy of this library walks maps as they were before Go 1.18: with it, the server crashes sooner or later.
	rm -rf vendor/github.com/modern-go/reflect2
	cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/
	export GOPATH=$go_path GOCACHE=$directory/cache GO111MODULE=off CGO_ENABLED=0 PATH=/usr/lib/go-1.19/bin:$PATH
	# Debian's package has no generated file of what the API looks like; the server does not start without it.
	go build -o "$bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
	local packages
	packages=$(grep -rlE '\+k8s:openapi-gen=' --include='*.go' pkg staging/src vendor/k8s.io 2>/dev/null | grep -v _test.go |
		xargs -n1 dirname | sort -u | grep -vE 'code-generator|sample-|kube-openapi|gengo' |
		sed -E 's#^pkg/#k8s.io/kubernetes/pkg/#; s#^staging/src/#k8s.io/kubernetes/vendor/#; s#^vendor/#k8s.io/kubernetes/vendor/#' |
		sort -u | paste -sd,)
	"$bin/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
		-h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r /dev/null --output-base "$GOPATH/src"
	local version=k8s.io/component-base/version
	go build -o "$bin/" -ldflags "-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20" \
		./cmd/kube-apiserver ./cmd/kubectl
}

start() {
	local name=$1
	shift
	setsid "$@" >"$run/$name.log" 2>&1 &
	echo $! >"$run/$name.pid"
}

stop
[ "$action" = up ] || exit 0
mkdir -p "$bin" "$run"
[ -x "$bin/kube-apiserver" ] && [ -x "$bin/kubectl" ] || build
rm -rf "$run/etcd"
cd "$run"
umask 077
openssl genrsa -out sa.key 2048 2>/dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,1,system:masters" >tokens.csv
cat >"$directory/kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://127.0.0.1:$PORT", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: local, context: {cluster: local, user: admin}}]
current-context: local
K
etcd=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
start etcd etcd --data-dir etcd --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peer" \
	--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
start apiserver "$bin/kube-apiserver" --etcd-servers="$etcd" --bind-address=127.0.0.1 --secure-port=$PORT --cert-dir=certs \
	--service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.key \
	--service-account-signing-key-file=sa.key --token-auth-file=tokens.csv --authorization-mode=RBAC \
	--service-cluster-ip-range=10.96.0.0/16
for _ in $(seq 120); do
	"$bin/kubectl" --kubeconfig "$directory/kubeconfig" get --raw /readyz >/dev/null 2>&1 && exit 0
	sleep 1
done
tail -n 20 "$run/apiserver.log" >&2
echo "kubernetes-up: the API server was not ready after two minutes" >&2
stop
exit 3
