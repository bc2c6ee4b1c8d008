/**
 * Actions of others that the workflows use, each by a commit. Tags move; `git ls-remote https://github.com/OWNER/NAME TAG`
 * shows whether they belong together.
 */

export interface Action {
  readonly name: string;
  readonly commit: string;
  readonly version: string;
}

export const ACTIONS = {
  checkout: {
    name: "actions/checkout",
    commit: "3d3c42e5aac5ba805825da76410c181273ba90b1",
    version: "v7.0.1",
  },
  upload: {
    name: "actions/upload-artifact",
    commit: "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f",
    version: "v7.0.0",
  },
  download: {
    name: "actions/download-artifact",
    commit: "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c",
    version: "v8.0.1",
  },
  restoreCache: {
    name: "actions/cache/restore",
    commit: "55cc8345863c7cc4c66a329aec7e433d2d1c52a9",
    version: "v6.1.0",
  },
  saveCache: {
    name: "actions/cache/save",
    commit: "55cc8345863c7cc4c66a329aec7e433d2d1c52a9",
    version: "v6.1.0",
  },
  awsCredentials: {
    name: "aws-actions/configure-aws-credentials",
    commit: "e6de054238d6b7531b4efff3b6587d9aade6a06c",
    version: "v6.2.3",
  },
} as const satisfies Readonly<Record<string, Action>>;

/** As `uses:` has it. */
export function pinned({ name, commit }: Action): string {
  return `${name}@${commit}`;
}
