/** Elements of a matrix, with only what a test says different. */
import { type Element, outputOf, seriesOf, urlsOf } from "../../src/matrix/element.ts";
import { makeKernel } from "./kernels.ts";

const MIRRORS = new Map([["debian/bookworm", "http://mirror.example/debian"]]);

export function makeElement(changes: Partial<Element> = {}): Element {
  const { kversion, packageVersion, architecture, distribution } = changes;
  const kernel = makeKernel({
    ...(kversion === undefined ? {} : { kversion }),
    ...(packageVersion === undefined ? {} : { packageVersion }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(distribution === undefined ? {} : { distribution }),
  });
  const driverversion = changes.driverversion ?? "0.1.1";
  return {
    kversion: kernel.kversion,
    distribution: kernel.distribution,
    architecture: kernel.architecture,
    kernelurls: urlsOf(kernel.packages.headers, MIRRORS),
    output: outputOf(seriesOf(driverversion), kernel),
    driverversion,
    driver: "doorbell",
    packageVersion: kernel.packageVersion,
    flavour: kernel.flavour,
    distributionId: "debian",
    distributionVersion: "12",
    packages: kernel.packages,
    ...(kernel.compiler === undefined ? {} : { compiler: kernel.compiler }),
    ...changes,
  };
}
