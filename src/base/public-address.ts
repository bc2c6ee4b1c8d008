/**
 * Which addresses belong to everybody's internet. What strangers name must not lead to this machine, its network or
 * its cloud's metadata: those answer every request from inside. Source: IANA's registries of special-purpose addresses.
 */
import { BlockList, isIP, isIPv4 } from "node:net";

const SPECIAL_IPV4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"],
  ...["192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"],
  ...["198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
];
/** Teredo and 6to4 hold IPv4 addresses, the others are for documents. */
const SPECIAL_IPV6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];
const GLOBAL_UNICAST = ["2000::/3"];
/** How a network without IPv4 reaches it (RFC 6052): the last four bytes decide. */
const TRANSLATED = ["64:ff9b::/96"];

const [special4, special6] = [listOf(SPECIAL_IPV4, "ipv4"), listOf(SPECIAL_IPV6, "ipv6")];
const [unicast, translated] = [listOf(GLOBAL_UNICAST, "ipv6"), listOf(TRANSLATED, "ipv6")];

function listOf(subnets: readonly string[], family: "ipv4" | "ipv6"): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [network = "", bits] = subnet.split("/");
    list.addSubnet(network, Number(bits), family);
  }
  return list;
}

/** Whether an address in text is one that anybody on the internet may have; a name is none. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !special4.check(address, "ipv4");
  if (isIP(address) === 0) return false;
  if (translated.check(address, "ipv6")) return isPublicAddress(lastFourBytes(address));
  // Addresses of IPv4 in those of IPv6 (`::ffff:10.0.0.1`) lie outside of what is unicast.
  return unicast.check(address, "ipv6") && !special6.check(address, "ipv6");
}

/** The parser of URLs writes every spelling of an address in one way: two groups of hexadecimal digits at its end. */
function lastFourBytes(address: string): string {
  const groups = new URL(`http://[${address}]/`).hostname.slice(1, -1).split(":").slice(-2);
  const bytes = Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
  return [...bytes].join(".");
}
