#repeat r WEIGHT_ROWS
#repeat t TOKENS
    partial[({r}u * TOKENS + {t}u) * WORKGROUP + thread] = sum{r}_{t};
#end
#end
#if NORMED
#repeat t TOKENS
    partial[(WEIGHT_ROWS * TOKENS + {t}u) * WORKGROUP + thread] = squares{t};
#end
#end
    reduce_partials(thread, lane);
#repeat r WEIGHT_ROWS
#repeat t TOKENS
    sum{r}_{t} = partial[({r}u * TOKENS + {t}u) * WORKGROUP + thread - lane];
#end
#end
#if NORMED
#repeat t TOKENS
    squares{t} = partial[(WEIGHT_ROWS * TOKENS + {t}u) * WORKGROUP + thread - lane];
#end
#end
