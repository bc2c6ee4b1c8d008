# Reads the files of a registry for kmodfarm-fetch, as docs/registry.md defines them: `form` is root, head, node or leaf.
# Exits with 1 for whatever is not of that form. What it compares is text, never numbers by chance: hence the `"" …`.
# From the environment: driver, machine, prefix; width and digits for a node, which prints the digest that they lead to;
# release and build (`uname -v`) for a leaf, which prints the answer of that kernel's block, and all that is denied of its
# release.

function need(is) { if (!is) { isBad = 1; exit 1 } }
function isText(s) { return length(s) < 201 && s ~ /^[!-~]/ && s ~ /[!-~]$/ }
function isHex(s, size) { return length(s) == size && s !~ /[^0-9a-f]/ }
function isTight() { return $0 !~ /^ | $|  / }

# Words with a colon are kinds of fields, others stand for themselves.
function isKind(s, kind) {
  if (kind == ":name") return length(s) < 129 && s ~ /^[A-Za-z0-9][A-Za-z0-9._+~-]*$/
  if (kind == ":origin") return length(s) < 129 && s ~ /^[A-Za-z0-9][A-Za-z0-9._~\/-]*$/
  if (kind == ":file") return length(s) < 129 && s ~ /^[A-Za-z0-9][A-Za-z0-9._+~-]*[.]ko$/
  if (kind == ":digest") return isHex(s, 64)
  if (kind == ":keyid") return length(s) > 7 && length(s) < 129 && isHex(s, length(s))
  if (kind == ":number") return length(s) < 10 && s ~ /^(0|[1-9][0-9]*)$/
  if (kind == ":count") return isKind(s, ":number") && s > 0
  if (kind == ":time") return s ~ /^[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$/
  if (kind == ":word") return length(s) < 201
  if (kind == ":widths") return s ~ /^(1|2|2[+]1|2[+]2|2[+]2[+]1)$/
  if (kind == ":floor") return s == "-" || isKind(s, ":name")
  if (kind == ":version") return s == "v1" || s == "v2"
  # 32 bytes; the last digit has two bits to spare, which are zero.
  if (kind == ":hash") return length(s) == 44 && s ~ /^[A-Za-z0-9+\/]+[AEIMQUYcgkosw048]=$/
  # P-256, uncompressed; its last digit has four bits to spare, which are zero. Or Ed25519, for logs and witnesses.
  if (kind == ":spki") return isNodes(s) || (length(s) == 60 && s ~ /^MCowBQYDK2VwAyEA[A-Za-z0-9+\/]+[AEIMQUYcgkosw048]=$/)
  return ("" s) == kind
}

function isNodes(s) { return length(s) == 124 && s ~ /^MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+\/]+[AQgw]==$/ }

function fits(shape,   kinds, i) {
  if (!isTight() || split(shape, kinds, " ") != NF) return 0
  for (i = 1; i <= NF; i++) if (!isKind($i, kinds[i])) return 0
  return 1
}

BEGIN {
  place = ENVIRON["driver"] " " ENVIRON["machine"]
  prefix = ENVIRON["prefix"] == "" ? "-" : ENVIRON["prefix"]
  shapes["root"] = "kmodfarm root :version|origin :origin|version :count|expires :time"
  shapes["head"] = "kmodfarm head :version|origin :origin|serial :count|issued :time|expires :time|generation :number :digest"
  shapes["node"] = "kmodfarm index v1|node " place " " prefix
  shapes["leaf"] = "kmodfarm index :version|leaf " place " " prefix
  headings = split(shapes[form], heading, "|")
  split("root head log witness", roleNames, " ")
  stage = 10
}
END { if (isBad || NR < headings) { isBad = 1; exit 1 } }
NR <= headings { need(fits(heading[NR])); at[$1] = "" $2; if (NR == 1) isSecond = $3 == "v2"; next }

form == "root" && $1 == "key" {
  need(!roles && fits("key :digest :spki") && ("" $2) > last && ++unused < 65)
  last = "" $2
  known[$2] = isNodes($3)
  next
}
form == "root" {
  need(NF > 3 && isTight() && $1 == "role" && ++roles < (isSecond ? 5 : 3) && ("" $2) == roleNames[roles] && isKind($3, ":count") && $3 <= NF - 3)
  for (i = 4; i <= NF; i++) {
    need(($i in known) && (i == 4 || ("" $i) > ("" $(i - 1))) && known[$i] == (roles < 3))
    if (roles == 3) ofLog[$i]
    need(roles < 4 || !($i in ofLog))
    if (!($i in used)) { used[$i]; unused-- }
  }
  next
}
END { if (form == "root" && (roles < (isSecond ? 3 : 2) || unused != 0)) { isBad = 1; exit 1 } }

form == "head" && isSecond && !logs++ { need(fits("log :number :hash")); next }
form == "head" {
  need(fits("index :name :name :widths :digest floor :floor") && ($2 " " $3) > last)
  last = $2 " " $3
  next
}
END { if (form == "head" && (at["expires"] <= at["issued"] || (isSecond && !logs))) { isBad = 1; exit 1 } }

form == "node" {
  need(fits($1 " :digest") && isHex($1, ENVIRON["width"] + 0) && ("" $1) > last)
  last = "" $1
  if (last == "" ENVIRON["digits"]) print $2
  next
}

# The order inside a block: 0 kernel, 1 uname, 2 answer with files to follow, 3 manifest, 4 provenance, 5 module,
# 6 signature, 7 set, 8 proof, 9 answer without files, 10 deny. From the answer on, lines of blocks of our release are kept.
function enter(least, most, next_stage) {
  need(stage >= least && stage <= most)
  stage = next_stage
  if (isOurs && stage == 10) deny = deny $0 "\n"
  else if (isOurs && stage > 1) said[block] = said[block] $0 "\n"
}
function levelsFor(count,   levels, room) { levels = 1; for (room = 2; room < count; room *= 2) levels++; return levels }
# No block has more lines of a kind than that.
function within(most) { need(++many[$1] <= most) }
$1 == "kernel" {
  need(index($0, "kernel " place " ") == 1 && fits("kernel " $2 " " $3 " :name :name :word") && ($4 " " $5 " " $6) > last)
  last = $4 " " $5 " " $6
  isOurs = 0
  need(stage != 7)
  enter(5, 10, 0)
  isOurs = ("" $4) == ("" ENVIRON["release"])
  block++
  denied = ""
  edition = 0
  split("", files)
  split("", sizes)
  split("", many)
  next
}
/^uname / {
  enter(0, 0, 1)
  need(isText(substr($0, 7)))
  if (isOurs && substr($0, 7) "" == ENVIRON["build"] "") { equals++; equal = block }
  next
}
/^unameword / {
  enter(0, 0, 1)
  need(isText(substr($0, 11)))
  if (isOurs && index(" " ENVIRON["build"] " ", " " substr($0, 11) " ")) { holds++; hold = block }
  next
}
/^answer (failed|excluded|withheld) / { enter(0, 1, 9); need(isText(substr($0, length($2) + 9))); next }
$0 == "answer building" { enter(0, 1, 9); next }
$1 == "answer" { enter(0, 1, 2); need(fits("answer exact :name") || fits("answer loadsOn :name :word")); next }
$1 == "manifest" { enter(2, 2, 3); need(fits("manifest :digest :number")); next }
$1 == "provenance" { enter(3, 4, 4); within(16); need(fits("provenance :digest :number")); next }
$1 == "module" { enter(3, 5, 5); within(64); need(fits("module :file :digest :number") && !($2 in files)); files[$2]; next }
$1 == "signature" {
  enter(5, 6, 6)
  within(512)
  need(fits("signature :file :keyid :digest :number") && ($2 in files) && !(($2, $3) in files))
  files[$2, $3]
  next
}
$1 == "set" && isSecond {
  enter(5, 7, 7)
  within(64)
  need(fits("set :name :count :count :count :digest") && $3 + 0 > edition && $5 + 0 == levelsFor($4 + 0))
  edition = $3 + 0
  sizes[44 + 32 * $5]
  next
}
$1 == "proof" && isSecond {
  enter(7, 8, 8)
  need(fits("proof :file :digest :number") && ($2 in files) && !(($2, "proof") in files) && ($4 + 0 in sizes))
  files[$2, "proof"]
  next
}
{
  need(stage != 7)
  enter(5, 10, 10)
  within(256)
  need(index($0, "deny " $2 " ") == 1 && isHex($2, 64) && ("" $2) > denied && isText(substr($0, 71)))
  denied = "" $2
}
END {
  if (form != "leaf") exit
  if (stage < 5 || stage == 7) exit 1
  if (equals > 1 || (!equals && holds > 1)) print "answer ambiguous"
  else if (equals + holds == 0) print "answer neverSeen"
  else printf "%s", said[equals ? equal : hold]
  printf "%s", deny
}
