-- 3. Carts that nobody paid for
-- How often something was put into a cart and not bought, counted in three ways.
-- reads: ecommerce_carts_daily, ecommerce_journeys
-- chart: bars label=counted_by value=without_purchase of=carts
WITH intents AS (
    SELECT
        'user and product' AS counted_by,
        MAX(CASE WHEN carts > 0 THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN purchases > 0 THEN 1 ELSE 0 END) AS bought
    FROM ecommerce_carts_daily
    GROUP BY user_id, product_id
    UNION ALL
    SELECT
        'session' AS counted_by,
        MAX(CASE WHEN carts > 0 THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN purchases > 0 THEN 1 ELSE 0 END) AS bought
    FROM ecommerce_journeys
    GROUP BY user_session
    UNION ALL
    SELECT
        'user' AS counted_by,
        MAX(CASE WHEN carts > 0 THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN purchases > 0 THEN 1 ELSE 0 END) AS bought
    FROM ecommerce_carts_daily
    GROUP BY user_id
)

SELECT
    counted_by,
    COUNT(*) AS carts,
    SUM(1 - bought) AS without_purchase
FROM intents
WHERE carted = 1
GROUP BY counted_by
ORDER BY carts DESC, counted_by
