/**
 * Opening a farm's store for those who publish: whoever comes first gives it a root, so that what follows can be signed.
 */
import { openVoucher, type Voucher } from "../../registry/vouched.ts";
import type { Farm } from "../open.ts";
import { makeFirstRoot } from "./ceremony.ts";
import { headMaker, untrustedNote } from "./heads.ts";
import { hasOwnKeys, makeMissingKeys } from "./keys.ts";

/**
 * Makes what a farm without configured keys needs to sign, and says for whom it signs.
 * @throws FarmError as `makeMissingKeys` and `makeFirstRoot`
 */
export async function openTrust(
  farm: Pick<Farm, "store" | "signing" | "config">,
  say: (text: string) => void,
  now: () => Date,
): Promise<Voucher> {
  const { store, signing, config } = farm;
  const maker = headMaker(farm, now);
  if (hasOwnKeys(config.keys)) return openVoucher(store, maker);
  const made = await makeMissingKeys(config, say);
  let voucher = await openVoucher(store, maker);
  let said: string | undefined;
  if (voucher.trusts.length === 0) {
    said = await makeFirstRoot(store, signing, maker, made.includes("head"));
    voucher = await openVoucher(store, maker);
  }
  said ??= untrustedNote(store, voucher);
  if (said !== undefined) say(said);
  return voucher;
}
