/**
 * Words that several sections share.
 */
import { z } from "zod";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { PathSegment } from "../../kernel/path-segment.ts";

export const Names = z.array(PathSegment).min(1);
export const Architectures = z.array(ArchitectureName).min(1).optional();
