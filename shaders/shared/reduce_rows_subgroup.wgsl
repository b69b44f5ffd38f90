#repeat r WEIGHT_ROWS
#repeat t TOKENS
    sum{r}_{t} = span_sum(sum{r}_{t});
#end
#end
#if NORMED
#repeat t TOKENS
    squares{t} = span_sum(squares{t});
#end
#end
#if SPANNING
    if lane % SUBGROUP == 0u {
#repeat r WEIGHT_ROWS
#repeat t TOKENS
        partial[({r}u * TOKENS + {t}u) * (WORKGROUP / SUBGROUP) + thread / SUBGROUP] = sum{r}_{t};
#end
#end
#if NORMED
#repeat t TOKENS
        partial[(WEIGHT_ROWS * TOKENS + {t}u) * (WORKGROUP / SUBGROUP) + thread / SUBGROUP] = squares{t};
#end
#end
    }
    workgroupBarrier();
#repeat r WEIGHT_ROWS
#repeat t TOKENS
    sum{r}_{t} = joined({r}u * TOKENS + {t}u, thread, lane);
#end
#end
#if NORMED
#repeat t TOKENS
    squares{t} = joined(WEIGHT_ROWS * TOKENS + {t}u, thread, lane);
#end
#end
#end
