/* The constants, by name: P(name, value, low, high). What they were chosen on: benchmarks/results/signals_blockcoder.md. */
P(qp_inter, 184, 64, 400)       /* eighths of a QP; a step of 16 x 2^((QP - 28) / 6) grey levels */
P(qp_intra, 168, 64, 400)       /* of frames that are intra as a whole */
P(noise, 96, 0, 400)            /* sixteenths: the step is at least this many times the noise's deviation */
P(lambda, 400, 0, 32767)        /* x step: cost of a bit in SATD units, x 256 */
P(lambda_search, 600, 0, 32767) /* the same in the motion search (SAD) */
P(lambda_rate, 24, 0, 32767)    /* x step^2: cost of a bit in squared error, x 256 */
P(round_inter, 43, 0, 128)      /* quantiser rounding, x 256 of a step */
P(round_intra, 85, 0, 128)
P(merges, 3, 1, 5)              /* vectors of the merge list that are tried */
P(still_from, 300, 0, 65535)    /* cost of a 16 x 16 block (a quarter for 8 x 8) up to which it is not searched further */
P(split_from, 1400, 0, 65535)   /* SATD of a 16 x 16 block above which 8 x 8 vectors are tried */
P(intra_from, 128, 0, 65535)    /* SATD of an 8 x 8 cell above which intra is tried */
P(between, 1, 0, 8)             /* rounds of refinement at half and at quarter pixels */
P(gain, 6, 0, 64)              /* 64ths of its cost that a vector must save to leave whole pixels */
P(rate, 5, 1, 12)               /* adaptation of the bit model: a context moves by 2^-rate */
