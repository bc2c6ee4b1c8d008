/**
 * The process that reads indices and lists.
 */
import { answerAll } from "../base/helpers.ts";
import { readIndexFile } from "./index-file.ts";

await answerAll(readIndexFile);
