/**
 * The thread that reads the log of a failed build.
 */
import { answerAll } from "../base/thread.ts";
import { diagnose } from "./diagnose.ts";

answerAll(diagnose);
