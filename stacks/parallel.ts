/** How many stacks, or links, are worked on at once where nobody says otherwise. */
export const PARALLEL = 4;
