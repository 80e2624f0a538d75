"""Published numbers once more, in the columns of the papers' tables."""

COLUMNS = {
    "top": [("top-1", ""), ("top-5", "")],
    "novel": [("base", ""), ("novel", ""), ("HM", "")],
    "shots": [("top-1", f"K={k}") for k in (2, 4, 8, 16)],
}
# Recipe | columns | setting | where | data set and values; a number that is not there is "-".
TABLE = """
evl_k400_b16_8f      | top | 3x1 views | table 1 | Kinetics-400 82.9
evl_k400_b16_8f      | top | 3x1 views | release | Kinetics-400 82.8/95.8
evl_k400_b16_16f     | top | 1x3 views | table 1 | Kinetics-400 83.6
evl_k400_b16_16f     | top | 1x3 views | release | Kinetics-400 83.7/96.2
evl_k400_b16_32f     | top | 1x3 views | table 1 | Kinetics-400 84.2
evl_k400_b16_32f     | top | 1x3 views | release | Kinetics-400 84.3/96.6
evl_k400_l14_8f      | top | 3x1 views | table 1 | Kinetics-400 86.3
evl_k400_l14_8f      | top | 3x1 views | release | Kinetics-400 86.3/97.2
evl_k400_l14_16f     | top | 1x3 views | table 1 | Kinetics-400 87.0
evl_k400_l14_16f     | top | 1x3 views | release | Kinetics-400 86.9/97.4
evl_k400_l14_32f     | top | 1x3 views | table 1 | Kinetics-400 87.3
evl_k400_l14_32f     | top | 1x3 views | release | Kinetics-400 87.7/97.6
evl_k400_l14_336_32f | top | 1x3 views | table 1 | Kinetics-400 87.7/97.8
evl_ssv2_b16_8f      | top | 1x3 views | table 9 | SSv2 61.0
evl_ssv2_b16_16f     | top | 1x3 views | table 9 | SSv2 61.7
evl_ssv2_b16_32f     | top | 1x3 views | table 9 | SSv2 62.4
evl_ssv2_l14_8f      | top | 1x3 views | table 9 | SSv2 65.1
evl_ssv2_l14_32f     | top | 1x3 views | table 9 | SSv2 66.7
evl_ssv2_l14_336_32f | top | 1x3 views | table 9 | SSv2 68.0
vificlip_k400        | top | 4x3 views | table 4 | Kinetics-400 83.9/96.3
image_ft_k400        | top | 4x3 views | table 4 | Kinetics-400 82.8/96.2
text_ft_k400         | top | 4x3 views | table 4 | Kinetics-400 73.1/91.2
vificlip_zero_shot   | top | | table 1 | HMDB-51 51.3, UCF-101 76.8, Kinetics-600 71.2
image_ft_zero_shot   | top | | table 1 | HMDB-51 49.0, UCF-101 72.9, Kinetics-600 62.4
image_ft_zero_shot   | top | | release | Kinetics-600 62.2
text_ft_zero_shot    | top | | table 1 | HMDB-51 48.5, UCF-101 69.8, Kinetics-600 68.5
vificlip_few_shot | shots | | table 3 | HMDB-51 57.2/62.7/64.5/66.8, UCF-101 80.7/85.1/90.0/92.7, SSv2 6.2/7.4/8.5/12.4
image_ft_few_shot | shots | | table 3 | HMDB-51 49.6/54.9/57.8/62.0, UCF-101 74.4/79.1/85.3/90.5, SSv2 4.9/6.0/7.2/10.4
text_ft_few_shot  | shots | | table 3 | HMDB-51 54.5/61.6/63.1/65.0, UCF-101 80.1/82.8/85.8/88.1, SSv2 6.2/6.1/6.3/9.1
vificlip_prompts_few_shot | shots | | table 7 | HMDB-51 63.0/65.1/69.6/72.0, UCF-101 91.0/93.7/95.0/96.4
vificlip_prompts_few_shot | shots | | table 7 | SSv2 6.7/7.9/10.2/13.5
vificlip_base_to_novel | novel | | table 2 | Kinetics-400 76.4/61.1/67.9, HMDB-51 73.8/53.3/61.9
vificlip_base_to_novel | novel | | table 2 | UCF-101 92.9/67.7/78.3, SSv2 16.2/12.1/13.9
image_ft_base_to_novel | novel | | table 2 | Kinetics-400 72.9/58.0/64.6, HMDB-51 62.6/47.5/54.0
image_ft_base_to_novel | novel | | table 2 | UCF-101 86.4/65.3/74.4, SSv2 9.2/8.5/8.8
text_ft_base_to_novel  | novel | | table 2 | Kinetics-400 73.4/59.7/65.8, HMDB-51 70.0/51.2/59.1
text_ft_base_to_novel  | novel | | table 2 | UCF-101 90.9/67.4/77.4, SSv2 12.4/9.5/10.8
vificlip_prompts_base_to_novel | novel | | table 8 | HMDB-51 77.1/54.9/64.1, UCF-101 95.9/74.1/83.6
vificlip_prompts_base_to_novel | novel | | table 8 | SSv2 15.8/11.5/13.3
xclip_k400_b32_8f     | top | 4x3 views | table 1 | Kinetics-400 80.4/95.0
xclip_k400_b32_16f    | top | 4x3 views | table 1 | Kinetics-400 81.1/95.5
xclip_k400_b16_8f     | top | 4x3 views | table 1 | Kinetics-400 83.8/96.7
xclip_k400_b16_8f     | top | 4x3 views | release | Kinetics-400 -/95.7
xclip_k400_b16_16f    | top | 4x3 views | table 1 | Kinetics-400 84.7/96.8
xclip_k400_l14_8f     | top | 4x3 views | table 1 | Kinetics-400 87.1/97.6
xclip_k400_l14_336_16f | top | 4x3 views | table 1 | Kinetics-400 87.7/97.4
xclip_k600_b16_8f     | top | 4x3 views | table 2 | Kinetics-600 85.3/97.1
xclip_k600_b16_16f    | top | 4x3 views | table 2 | Kinetics-600 85.8/97.3
xclip_k600_l14_8f     | top | 4x3 views | table 2 | Kinetics-600 88.3/97.7
xclip_zero_shot       | top | | tables 3, 4 | HMDB-51 44.6, UCF-101 72.0, Kinetics-600 65.2
xclip_few_shot        | shots | | table 5 | HMDB-51 53.0/57.3/62.8/64.0, UCF-101 76.4/83.4/88.3/91.4
xclip_few_shot        | shots | | ViFi-CLIP, table 3 | SSv2 3.9/4.5/6.8/10.0
xclip_base_to_novel   | novel | | ViFi-CLIP, table 2 | Kinetics-400 74.1/56.4/64.0, HMDB-51 69.4/45.5/55.0
xclip_base_to_novel   | novel | | ViFi-CLIP, table 2 | UCF-101 89.9/58.9/71.2, SSv2 8.5/6.6/7.4
actionclip_k400_b32_8f  | top | 1x1 view | release | Kinetics-400 78.36/94.25
actionclip_k400_b16_8f  | top | 1x1 view | release | Kinetics-400 81.09/95.49
actionclip_k400_b16_16f | top | 1x1 view | release | Kinetics-400 81.68/95.87
actionclip_k400_b16_16f | top | more views | table 8 | Kinetics-400 82.6
actionclip_k400_b16_32f | top | 1x1 view | release | Kinetics-400 82.32/96.20
actionclip_k400_b16_32f | top | 10x3 views | table 8 | Kinetics-400 83.8
actionclip_ucf101       | top | 1x1 view | release | UCF-101 97.1
actionclip_hmdb51       | top | 1x1 view | release | HMDB-51 76.2
a0_k400 | top | | table 1 | Kinetics-400 65.4/88.7
a1_k400 | top | | table 1 | Kinetics-400 66.1/89.0
a2_k400 | top | | table 1 | Kinetics-400 67.9/90.0
a3_k400 | top | | table 1 | Kinetics-400 68.8/90.1
a4_k400 | top | | table 1 | Kinetics-400 75.8/92.9
a5_k400 | top | | table 1 | Kinetics-400 76.6/93.3
a6_k400 | top | | table 1 | Kinetics-400 76.9/93.5
a7_k400 | top | | table 1 | Kinetics-400 76.8/93.5
a5_hmdb51 | top | K=5 | quoted by others | HMDB-51 56.6
zero_shot | top | mean of three test splits | ViFi-CLIP, table 1 | HMDB-51 40.8, UCF-101 63.2
zero_shot | top | mean of three draws of 160 classes | ViFi-CLIP, table 1 | Kinetics-600 59.8/83.5
zero_shot | novel | | ViFi-CLIP, table 2 | Kinetics-400 62.3/53.4/57.5, HMDB-51 53.3/46.8/49.8
zero_shot | novel | | ViFi-CLIP, table 2 | UCF-101 78.5/63.6/70.3, SSv2 4.9/5.3/5.1
zero_shot | top | first test split | ViFi-CLIP, table 3 | HMDB-51 41.9, UCF-101 63.6
zero_shot | top | all validation videos | ViFi-CLIP, table 3 | SSv2 2.7
"""
EXPECTED: dict[str, list[tuple[str, str, float, str, str]]] = {}
for line in TABLE.strip().splitlines():
    name, columns, setting, source, found = (cell.strip() for cell in line.split("|"))
    for dataset, values in (part.split() for part in found.split(",")):
        for (metric, shots), value in zip(COLUMNS[columns], values.split("/")):
            if value != "-":
                EXPECTED.setdefault(name, []).append((dataset, metric, float(value), setting or shots, source))
