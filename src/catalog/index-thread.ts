/**
 * The thread that reads indices and lists: what a mirror or a list's author wrote costs no more than its own source.
 */
import { answerAll } from "../base/thread.ts";
import { readIndexFile } from "./index-file.ts";

answerAll(readIndexFile);
