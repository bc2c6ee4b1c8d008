import { expect, test } from "vitest";
import { type Fit, fitOfListedName } from "./listed-name.ts";

test.each<[string, string, string, Fit]>([
  ["centos", "4.18.0-305.el8.x86_64", "4.18.0-305.el8.x86_64", "same"],
  ["centos", "4.18.0-305.el8.x86_64", "4.18.0-305.3.1.el8.x86_64", "other"],
  ["centos", "5.14.0-70.el9.aarch64", "5.14.0-70.el9.aarch64+64k", "possible"],
  ["amazonlinux2", "4.14.193-149.317.amzn2.x86_64", "4.14.192-147.314.amzn2.x86_64", "other"],
  ["minikube", "5.10.57", "5.10.57", "same"],
  ["minikube", "5.10.57", "4.19.202", "other"],
  ["debian", "6.1.0-56-amd64", "6.1.0-56-amd64", "same"],
  ["debian", "6.1.192-2-amd64", "6.1.0-56-amd64", "possible"],
  ["debian", "6.1.192-2-cloud-amd64", "6.1.0-56-amd64", "other"],
  ["debian", "6.1.192-2-cloud-amd64", "6.1.0-56-cloud-amd64", "possible"],
  ["debian", "5.10.223-1-amd64", "6.1.0-56-amd64", "other"],
  ["debian", "6.12.107-1-amd64", "6.12.107+deb13-amd64", "possible"],
  ["debian", "6.12.107-1-amd64", "6.12.118+deb13-amd64", "other"],
  ["debian", "5.18.16-1~bpo11+1-amd64", "5.18.0-0.deb11.4-amd64", "possible"],
  ["debian", "6.1.192-2-amd64", "6.1.0-27-generic", "other"],
  ["ubuntu-aws", "5.15.0-102-aws", "5.15.0-102-aws", "same"],
  ["ubuntu-aws", "5.15.0-103-aws", "5.15.0-102-aws", "other"],
  ["ubuntu-gke", "5.15.0-1011-gke~20.04", "5.15.0-1011-gke", "same"],
  ["ubuntu-hwe-5.4", "5.4.0-128-hwe-5.4", "5.4.0-128-generic", "possible"],
  ["ubuntu-hwe-5.4", "5.4.0-128-hwe-5.4", "5.4.0-128-aws", "other"],
  ["ubuntu-hwe-5.4", "5.4.0-128-hwe-5.4", "5.4.0-127-generic", "other"],
  ["ubuntu-gcp-5.4", "5.4.0-1078-gcp-5.4", "5.4.0-1078-gcp", "possible"],
  ["opensuse", "5.14.21-150500.30.2.x86_64", "5.14.21-150500.30-default", "possible"],
  ["opensuse", "5.14.21-150500.30.2.x86_64", "5.14.21-150500.33-default", "other"],
  ["photon", "4.19.247-11.ph3.x86_64", "4.19.247-11.ph3", "same"],
  ["photon", "4.19.247-11.ph3.x86_64", "4.19.247-11.ph3-esx", "possible"],
  ["photon", "4.19.247-11.ph3.x86_64", "4.19.247-12.ph3", "other"],
  ["arch", "5.18.arch1-1", "5.18.0-arch1-1", "same"],
  ["arch", "6.4.1.arch1-1", "6.4.1-arch1-1", "same"],
  ["arch", "6.4.zen1-1", "6.4.0-zen1-1-zen", "possible"],
  ["arch", "6.18-1", "6.18.0-1-lts", "possible"],
  ["arch", "6.4.1.arch1-1", "6.4.2-arch1-1", "other"],
  // Flatcar's entries are called by the version of the image.
  ["flatcar", "3510.2.0", "5.15.86-flatcar", "possible"],
  ["somebody-else", "1.2.3", "6.1.0", "possible"],
])("a list of %s that names %s and a node that says %s: %s", (target, name, release, fit) => {
  expect(fitOfListedName(target, name, release)).toBe(fit);
});
