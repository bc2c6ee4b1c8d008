/**
 * What the workflows of GitHub Actions are made of, which `kmodfarm github init` writes.
 */
import { z } from "zod";
import { ArchitectureName } from "../../kernel/architecture.ts";

const Label = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, { error: "not a name of a runner" });

/** The name of a scale set or of a hosted runner, or the labels of one's own. */
const RunsOn = z.union([Label, z.array(Label).min(1)]);

/** GitHub's five fields, without names of days and months. */
const Cron = z.string().regex(/^[\d*,/-]+( [\d*,/-]+){4}$/, { error: "not five fields of cron" });

export const GithubConfig = z.strictObject({
  runners: z
    .partialRecord(ArchitectureName, RunsOn)
    .default({ x86_64: "ubuntu-24.04", aarch64: "ubuntu-24.04-arm" })
    .describe(
      "Runners that build and boot, by their architecture: the name of a scale set or of a hosted runner, or a list of labels like `[self-hosted, build, aarch64]`.",
    ),
  coordinator: RunsOn.default("ubuntu-24.04").describe("Runner that plans and publishes."),
  schedule: Cron.default("17 2 * * *").describe("When the night begins, in UTC, as cron has it."),
  environment: z
    .string()
    .regex(/^[\w.-]{1,255}$/)
    .default("kmodfarm")
    .describe("Environment of the job that publishes: its protection rules and its role are there."),
});
