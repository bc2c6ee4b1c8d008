/**
 * What OpenVEX 0.2.0 (github.com/openvex/spec) and OSV (github.com/ossf/osv-schema) ask of documents, as JSON Schemas of
 * our own: the rules for the fields that we write, and that there are no others.
 */

const text = { type: "string", minLength: 1 };
const time = {
  type: "string",
  pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d)$",
};
const iri = { type: "string", pattern: "^[a-z][a-z0-9+.-]*:\\S+$" };
const closed = (properties: object, required: readonly string[]) => ({
  ...{ type: "object", properties, required, additionalProperties: false },
});
const when = (status: string, then: object) => ({
  if: { properties: { status: { const: status } } },
  then,
});
/** Exactly one of the two says why. */
const either = (one: string, other: string) => ({
  oneOf: [
    { required: [one], not: { required: [other] } },
    { required: [other], not: { required: [one] } },
  ],
});

const statement = {
  ...closed(
    {
      "@id": iri,
      vulnerability: closed(
        { "@id": iri, name: text, description: text, aliases: { type: "array", items: text } },
        ["name"],
      ),
      timestamp: time,
      products: {
        ...{ type: "array", minItems: 1, uniqueItems: true },
        items: closed({ "@id": iri, identifiers: closed({ purl: text, cpe22: text, cpe23: text }, []) }, []),
      },
      status: { enum: ["not_affected", "affected", "fixed", "under_investigation"] },
      status_notes: text,
      justification: {
        enum: [
          ...["component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path"],
          ...["vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"],
        ],
      },
      impact_statement: text,
      action_statement: text,
    },
    ["vulnerability", "status"],
  ),
  allOf: [
    when("not_affected", either("justification", "impact_statement")),
    when("affected", { required: ["action_statement"] }),
  ],
};

export const OPENVEX = closed(
  {
    ...{
      "@context": iri,
      "@id": iri,
      author: text,
      role: text,
      timestamp: time,
      last_updated: time,
      tooling: text,
    },
    version: { type: "integer", minimum: 1 },
    statements: { type: "array", minItems: 1, uniqueItems: true, items: statement },
  },
  ["@context", "@id", "author", "timestamp", "version", "statements"],
);

export const OSV = closed(
  {
    ...{
      schema_version: text,
      id: text,
      modified: time,
      published: time,
      summary: text,
      database_specific: { type: "object" },
    },
    severity: {
      type: "array",
      items: closed({ type: { enum: ["CVSS_V2", "CVSS_V3", "CVSS_V4"] }, score: text }, ["type", "score"]),
    },
    affected: {
      type: "array",
      items: closed(
        {
          package: closed({ ecosystem: text, name: text, purl: text }, ["ecosystem", "name"]),
          versions: { type: "array", items: text },
        },
        [],
      ),
    },
  },
  ["id", "modified"],
);
