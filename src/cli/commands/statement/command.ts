/** `kmodfarm statement add`. */
import { declareCommand, oneOrMore } from "../../command.ts";
import { PERSON, PLACES } from "../../common-options.ts";

export const ADD_STATEMENT = declareCommand(
  "add",
  "add statements by people who rebuilt an artifact; kept only if the policy's rebuilders signed them and they fit",
  {
    arguments: [oneOrMore("file", "statements, as `kmodfarm rebuild --sign` writes them")],
    options: { ...PLACES, by: PERSON.by },
  },
);
