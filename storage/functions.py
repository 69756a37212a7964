"""Functions that SQL from outside may call: none reads a file, the catalog or a setting, or can
grow its result without growing its input by much.

Left out on purpose, for they take gigabytes or minutes: repeat, lpad, rpad, printf, format, the
edit distances, sleep_ms, array_resize, strip_accents, range and generate_series as scalars,
to_base64, and everything that takes a function or a query by its name.
"""

_OPERATORS = """
+ - * / // % ** ^ @ || & | << >> ~ ->> @> <@ && ^@ <-> <=> ~~ !~~ ~~* !~~* ~~~
"""
_AGGREGATES = """
any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_min
arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if
count_star countif covar_pop covar_samp entropy favg first fsum geometric_mean geomean group_concat
histogram kahan_sum kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by
mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept
regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev stddev_pop
stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp variance wavg weighted_avg
"""
_WINDOWS = """
cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
rank_dense row_number
"""
_TEXT = """
ascii bit_length char_length character_length chr concat concat_ws contains ends_with from_base64
from_hex hash hex instr lcase left length length_grapheme like_escape ilike_escape not_like_escape
not_ilike_escape lower ltrim md5 nfc_normalize ord position prefix regexp_escape regexp_extract
regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array replace
reverse right rtrim sha1 sha256 split split_part starts_with str_split str_split_regex strlen strpos
string_split string_split_regex string_to_array substr substring substring_grapheme suffix to_hex
translate trim ucase unbin unhex unicode upper url_decode url_encode parse_dirname parse_dirpath
parse_filename parse_path bin formatreadablesize formatreadabledecimalsize decode encode
octet_length
"""
_NUMBERS = """
abs acos acosh add asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees
divide even exp fdiv floor fmod gamma gcd greatest greatest_common_divisor isfinite isinf isnan lcm
least least_common_multiple lgamma ln log log10 log2 mod multiply nextafter pi pow power radians
random round round_even roundbankers sign signbit sin sinh sqrt subtract tan tanh trunc xor
"""
_TIMES = """
age ago century current_date date_add date_diff date_part date_sub date_trunc datediff datepart
datesub datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us
era get_current_time get_current_timestamp hour isodow isoyear julian last_day make_date make_time
make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz microsecond millennium
millisecond minute month monthname nanosecond now quarter second strftime strptime time_bucket
timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours to_microseconds
to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks
to_years today transaction_timestamp try_strptime week weekday weekofyear year yearweek
normalized_interval days_in_month
"""
_JSON = """
array_to_json from_json from_json_strict json json_array json_array_length json_contains json_exists
json_extract json_extract_path json_extract_path_text json_extract_string json_group_array
json_group_object json_group_structure json_keys json_merge_patch json_object json_pretty json_quote
json_structure json_transform json_transform_strict json_type json_valid json_value row_to_json
to_json json_insert json_normalize json_remove json_replace json_set json_strip_nulls
"""
_NESTED = """
array_append array_cat array_concat array_contains array_distinct array_extract array_filter
array_has array_has_all array_has_any array_indexof array_intersect array_length array_position
array_prepend array_reverse array_reverse_sort array_slice array_sort array_to_string
array_transform array_unique array_zip cardinality element_at filter flatten grade_up len
list_any_value list_append list_apply list_approx_count_distinct list_avg list_bit_and list_bit_or
list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains list_count list_distinct
list_element list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all
list_has_any list_histogram list_indexof list_intersect list_kurtosis list_last list_mad list_max
list_median list_min list_mode list_pack list_position list_prepend list_product list_reverse
list_reverse_sort list_select list_skewness list_slice list_sort list_stddev_pop list_stddev_samp
list_string_agg list_sum list_transform list_unique list_value list_var_pop list_var_samp list_where
list_zip map map_concat map_contains map_contains_entry map_contains_value map_entries map_extract
map_extract_value map_from_entries map_keys map_values row struct_concat struct_extract
struct_insert struct_pack struct_update unnest unpivot_list struct_values struct_contains
struct_position struct_keys apply array_apply array_grade_up array_pop_back array_pop_front
array_push_back array_push_front array_select array_value array_where list_kurtosis_pop list_sem
"""
_CHOICES = "if nullif typeof"

FUNCTIONS: frozenset[str] = frozenset(
    name
    for group in (
        _OPERATORS,
        _AGGREGATES,
        _WINDOWS,
        _TEXT,
        _NUMBERS,
        _TIMES,
        _JSON,
        _NESTED,
        _CHOICES,
    )
    for name in group.split()
)

TABLE_FUNCTIONS: frozenset[str] = frozenset(
    {"range", "generate_series", "unnest", "json_each", "json_tree"}
)
