/** Which bytes of a module a set is over. */

/** As it was built, or without debugging information: a build tree has `NAME.ko.stripped` beside `NAME.ko` then. */
export const FORMS = ["built", "stripped"] as const;
export type Form = (typeof FORMS)[number];
