/* The constants, by name: P(name, value). */
P(qp_inter, 184)        /* eighths of a QP; a step of 16 x 2^((QP - 28) / 6) grey levels */
P(qp_intra, 168)
P(aq, 0)                /* texture-adaptive quantiser: eighths of a QP per octave of variance, x 256 */
P(lambda, 400)          /* x step: cost of a bit in SATD units, x 256 */
P(lambda_search, 600)   /* the same in the motion search (SAD) */
P(lambda_rate, 24)      /* x step^2: cost of a bit in squared error, x 256 */
P(round_inter, 43)      /* quantiser rounding, x 256 */
P(round_intra, 85)
P(intra_from, 128)      /* SATD of an 8 x 8 block above which intra is tried */
P(split_from, 1400)      /* SATD of a 16 x 16 block above which 8 x 8 vectors are tried */
P(still_from, 300)      /* SAD of a 16 x 16 block up to which nothing but its first candidates are looked at */
P(subpel_rounds, 1)
P(intra_bias, 0)        /* extra bits of an intra block, x 256 */
P(merge_bits, 256)
P(rate, 5)              /* adaptation of the bit model: shift */
P(spread, 256)          /* share of a 16 x 16 block's bits that stays in its cell, x 256 */
P(reset, 0)
