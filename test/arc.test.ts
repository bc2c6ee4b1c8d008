/** deploy/arc: every manifest passes its schema, no value is unknown to the chart, and no runner has a token of the cluster. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as karpenterAws from "@kubernetes-models/karpenter/karpenter.k8s.aws/v1";
import * as karpenter from "@kubernetes-models/karpenter/karpenter.sh/v1";
import { Ajv } from "ajv";
import * as networking from "kubernetes-models/networking.k8s.io/v1";
import * as core from "kubernetes-models/v1";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

const ARC = join(import.meta.dirname, "..", "deploy", "arc");
const FIXTURES = join(import.meta.dirname, "fixtures", "arc");

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

const textOf = (file: string) => readFileSync(join(ARC, file), "utf8");
const manifestsIn = (pattern: string) =>
  globSync(pattern, { cwd: ARC }).flatMap((file) =>
    parseAllDocuments(textOf(file)).map((document): [string, Manifest] => [
      file,
      document.toJS() as Manifest,
    ]),
  );

/** A kind that the packages of schemas know. */
type Model = new (data: never) => { validate(): void };
const MODELS: Readonly<Record<string, Model>> = {
  Namespace: core.Namespace,
  ServiceAccount: core.ServiceAccount,
  NetworkPolicy: networking.NetworkPolicy,
  NodePool: karpenter.NodePool,
  EC2NodeClass: karpenterAws.EC2NodeClass,
};

function validate({ kind, ...manifest }: Manifest): void {
  const Known = MODELS[kind];
  if (Known === undefined) throw new Error(`no schema for ${kind}`);
  new Known({ ...manifest, kind } as never).validate();
}

/** The schema that a controller publishes of a kind of its own; what it does not name would be dropped silently. */
function definitionOf(file: string) {
  const [definition] = parseAllDocuments(gunzipSync(readFileSync(join(FIXTURES, file))).toString())
    .map((document) => document.toJS())
    .filter((one) => one !== null);
  const schema = definition.spec.versions[0].schema.openAPIV3Schema;
  return new Ajv({ strict: false, logger: false }).compile(closed(schema) as object);
}

function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  const isOpen =
    copy.properties === undefined ||
    copy.additionalProperties !== undefined ||
    "x-kubernetes-preserve-unknown-fields" in copy;
  return isOpen ? copy : { ...copy, additionalProperties: false };
}

describe.each(manifestsIn("{namespace-*,karpenter/*}.yaml"))("%s", (_, manifest) => {
  test(`${manifest.kind} ${manifest.metadata.name} passes its schema`, () => {
    expect(() => validate(manifest)).not.toThrow();
  });
});

test("a manifest of another version does not pass", () => {
  const [[, pool] = []] = manifestsIn("karpenter/x86_64.yaml");
  const old = { consolidationPolicy: "WhenUnderutilized", expireAfter: "24h" };

  expect(() => validate({ ...(pool as Manifest), spec: { ...pool?.spec, disruption: old } })).toThrow();
});

interface Values {
  readonly runnerScaleSetName: string;
  readonly githubConfigSecret: string;
  readonly template: {
    readonly metadata: object;
    readonly spec: {
      readonly serviceAccountName: string;
      readonly automountServiceAccountToken: boolean;
      readonly hostUsers: boolean;
      readonly nodeSelector: Readonly<Record<string, string>>;
    };
  };
}

const ARCHITECTURES = [
  ["x86_64", "amd64"],
  ["aarch64", "arm64"],
] as const;

describe.each(ARCHITECTURES)("the scale set for %s", (architecture, kubernetesName) => {
  const values = parse(textOf(`values-${architecture}.yaml`)) as Values;
  const { template } = values;

  test("has no value that the chart does not know", () => {
    const known = readFileSync(join(FIXTURES, "values.txt"), "utf8").split("\n");

    expect(Object.keys(values).filter((key) => !known.includes(key))).toEqual([]);
  });

  test("has a pod that passes its schema", () => {
    expect(() => new core.Pod(template as never).validate()).not.toThrow();
    const wrong = { ...template, spec: { ...template.spec, hostUsers: "no" } };
    expect(() => new core.Pod(wrong as never).validate()).toThrow();
  });

  test("runs on its architecture, in a namespace of its own, without a token of the cluster", () => {
    const { spec } = template;
    const own = manifestsIn(`namespace-${architecture}.yaml`).map(([, manifest]) => manifest);

    expect(spec.nodeSelector["kubernetes.io/arch"]).toBe(kubernetesName);
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.hostUsers).toBe(false);
    expect(own.map(({ kind }) => kind)).toEqual(["Namespace", "ServiceAccount", "NetworkPolicy"]);
    expect(own[0]?.metadata.name).toBe(values.runnerScaleSetName);
    expect(own[1]).toMatchObject({
      metadata: { name: spec.serviceAccountName, namespace: own[0]?.metadata.name },
      automountServiceAccountToken: false,
    });
    // With a mode of containers the chart lets runners read the secrets of their namespace.
    expect(values).not.toHaveProperty("containerMode");
    expect(textOf(`values-${architecture}.yaml`)).not.toMatch(/PRIVATE KEY|ghp_|github_token/);
  });

  test("has nodes that take its pods, by either autoscaler", () => {
    const [[, pool] = []] = manifestsIn(`karpenter/${architecture}.yaml`);
    const groups = parse(textOf("cluster-autoscaler/node-groups.yaml")) as {
      managedNodeGroups: { name: string; tags: Record<string, string>; minSize: number }[];
    };
    const prefix = "k8s.io/cluster-autoscaler/node-template/label";
    const group = groups.managedNodeGroups.find(({ name }) => name === values.runnerScaleSetName);

    for (const [label, value] of Object.entries(template.spec.nodeSelector)) {
      expect(JSON.stringify(pool)).toContain(value);
      expect(group?.tags[`${prefix}/${label}`]).toBe(value);
    }
    expect(group?.minSize).toBe(0);
    expect(JSON.stringify(template)).toContain('"key":"kmodfarm/build"');
    expect(JSON.stringify(pool)).toContain('"key":"kmodfarm/build"');
  });

  test("has a counterpart for the older controller that passes its definitions", () => {
    const manifests = manifestsIn(`runner-deployment/${architecture}.yaml`).map(([, manifest]) => manifest);
    const definitions = new Map([
      ["RunnerDeployment", definitionOf("actions.summerwind.dev_runnerdeployments.yaml.gz")],
      [
        "HorizontalRunnerAutoscaler",
        definitionOf("actions.summerwind.dev_horizontalrunnerautoscalers.yaml.gz"),
      ],
    ]);

    for (const manifest of manifests) {
      const isValid = definitions.get(manifest.kind);
      expect(isValid?.(manifest), JSON.stringify(isValid?.errors)).toBe(true);
      expect(isValid?.({ ...manifest, spec: { ...manifest.spec, unheardOf: 1 } })).toBe(false);
    }
    expect(manifests.map(({ kind }) => kind)).toEqual([...definitions.keys()]);
    expect(manifests[0]?.spec).not.toHaveProperty("replicas");
    expect(JSON.stringify(manifests[0])).toContain('"automountServiceAccountToken":false');
  });
});
